/** Relative width of a bucket: what is told is right to so much. */
const STEP = Math.log(1.01);

/** Times, counted so that quantiles of any number of them take the same memory. */
export interface Quantiles {
  add(ms: number): void;
  readonly count: number;
  /** To the hundredth part; undefined of nothing. */
  at(part: number): number | undefined;
}

/** Counts by buckets, each a hundredth wider than the one before. */
export function createQuantiles(): Quantiles {
  const buckets = new Map<number, number>();
  let count = 0;
  return {
    add(ms) {
      const bucket = Math.round(Math.log(Math.max(ms, 0.01)) / STEP);
      buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
      count += 1;
    },
    get count() {
      return count;
    },
    at(part) {
      let left = Math.ceil(count * part);
      for (const [bucket, size] of [...buckets].sort(([one], [other]) => one - other)) {
        left -= size;
        if (left <= 0) return rounded(Math.exp(bucket * STEP));
      }
      return undefined;
    },
  };
}

/** Three digits say all that a bucket knows. */
const rounded = (ms: number): number => Number(ms.toPrecision(3));
