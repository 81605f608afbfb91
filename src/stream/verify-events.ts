/** What a check of a stream tells. */

/** Something that is not as it should be. */
export interface Finding {
  readonly kind: "finding";
  readonly blob: string;
  /** In bytes, where it is one place. */
  readonly position: number | undefined;
  readonly problem: string;
}

/** Something that is worth to know but no fault. */
export interface Note {
  readonly kind: "note";
  readonly blob: string;
  readonly text: string;
}

/** A segment that was read to its end. Totals are of the stream up to here. */
export interface VerifyProgress {
  readonly kind: "progress";
  readonly blob: string;
  readonly segments: number;
  readonly frames: number;
  readonly records: bigint;
  readonly bytes: number;
  readonly nextOffset: bigint;
}

/** What a check tells, in the order of the segments. */
export type VerifyEvent = Finding | Note | VerifyProgress;

/** Makes a note. */
export function note(blob: string, text: string): Note {
  return { kind: "note", blob, text };
}

/** Makes a finding. */
export function finding(blob: string, position: number | undefined, problem: string): Finding {
  return { kind: "finding", blob, position, problem };
}
