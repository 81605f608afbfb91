/**
 * How far a clock is ahead of storage's (behind: negative), at least, in milliseconds, where storage answered `date` to a
 * request that was sent and answered at these times of the clock. Storage made its answer at some moment between the
 * two, and tells the whole second only.
 */
export function leastSkewMs(date: number, sentAt: number, answeredAt: number): number {
  if (answeredAt < date) return answeredAt - date;
  return Math.max(0, sentAt - (date + 999));
}

/** Says in words that a clock is off by more than `skewMsMax`; undefined where it is not. */
export function describeSkew(skewMs: number, skewMsMax: number): string | undefined {
  if (Math.abs(skewMs) <= skewMsMax) return undefined;
  const direction = skewMs > 0 ? "ahead of" : "behind";
  const seconds = (Math.abs(skewMs) / 1000).toFixed(1);
  return `this node's clock is at least ${seconds} s ${direction} storage's: set the clock`;
}
