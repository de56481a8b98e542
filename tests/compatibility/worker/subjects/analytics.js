export default ({ env }) => {
  const write = (...point) => env.POINTS.writeDataPoint(...point);
  return {
    "a point": () => write({ blobs: ["a", null], doubles: [1, 2.5], indexes: ["i"] }),
    "an empty point": () => write({}),
    "nothing": () => write(),
    "null": () => write(null),
    "a buffer as blob": () => write({ blobs: [new Uint8Array([1, 2]).buffer] }),
    "21 blobs": () => write({ blobs: Array(21).fill("x") }),
    "21 doubles": () => write({ doubles: Array(21).fill(1) }),
    "two indexes": () => write({ indexes: ["a", "b"] }),
    "a long index": () => write({ indexes: ["x".repeat(97)] }),
    "17 KB of blobs": () => write({ blobs: ["x".repeat(17_000)] }),
    "a double that is none": () => write({ doubles: ["x"] }),
    "blobs that are none": () => write({ blobs: "x" }),
  };
};
