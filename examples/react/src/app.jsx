import { useEffect, useState } from "react";

export function App() {
  const [quote, setQuote] = useState();
  const [count, setCount] = useState(1);

  useEffect(() => {
    const asked = new AbortController();
    fetch(`/api/quote?count=${count}`, { signal: asked.signal })
      .then((answer) => answer.json())
      .then(setQuote)
      .catch((error) => {
        if (!asked.signal.aborted) throw error;
      });
    return () => asked.abort();
  }, [count]);

  return (
    <main>
      <h1>A shop at {location.pathname}</h1>
      <button type="button" onClick={() => setCount(count + 1)}>
        one more
      </button>
      <p>{quote === undefined ? "asking" : `${quote.count} for ${quote.cents} cents`}</p>
    </main>
  );
}
