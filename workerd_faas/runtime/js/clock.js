// How much time has passed, on the only clock there is.

/**
 * Whether less than `span` milliseconds have passed since `time`. The clock is the machine's: if it
 * has been set back, they have.
 */
export function within(span, time) {
  const passed = Date.now() - time;
  return passed >= 0 && passed < span;
}
