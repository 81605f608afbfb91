/**
 * The one error class for what can go wrong in operation. A programmer's error is an assertion instead.
 *
 * A kind exists only where a caller would act differently.
 */
export type ErrorKind =
  /** The request can never succeed. */
  | "invalid"
  /** What was asked for does not exist. */
  | "notFound"
  /** What was to be created exists. */
  | "alreadyExists"
  /** A condition of the request does not hold; nothing was changed. */
  | "conflict"
  /** A start before the first or beyond the last offset. */
  | "outOfRange"
  /** A limit is reached, or storage throttles; nothing was changed: slow down and try again. */
  | "overloaded"
  /** Nothing was stored or changed; trying again later, or elsewhere, can help. */
  | "unavailable"
  /** A newer leader owns what was to be written; nothing was written. */
  | "fenced"
  /** It may or may not have been stored or changed. */
  | "indeterminate"
  /** Storage holds other bytes than were written. */
  | "corrupt"
  /** Who asks is not known. */
  | "unauthenticated"
  /** Who asks may not do this. */
  | "denied";

/** What a caller can act on beside the kind. */
export interface ErrorDetail {
  /** The path of the request's field that is at fault, such as `records[3].key`. */
  readonly field?: string;
  /** The stream, blob or node that the error is about. */
  readonly resource?: string;
  /** Which condition failed, where kind is `conflict`. */
  readonly condition?: "etag" | "sequenceNumber" | "lease" | "expectedOffset" | "producerSequence" | "incarnation";
  /** When to try again, in milliseconds. */
  readonly retryAfterMs?: number;
  /** The leader's endpoint, where it is another node. */
  readonly leader?: string;
  /** What was found, by name: offsets, sequences, positions. */
  readonly found?: Readonly<Record<string, string>>;
}

/** An error of operation. `message` is for people, `kind` and `detail` are for programs. */
export class VaultError extends Error {
  readonly kind: ErrorKind;
  readonly detail: ErrorDetail;

  constructor(kind: ErrorKind, message: string, detail: ErrorDetail = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "VaultError";
    this.kind = kind;
    this.detail = detail;
  }
}

/** Whether `error` is a VaultError of one of these kinds. */
export function isKind(error: unknown, ...kinds: ErrorKind[]): error is VaultError {
  return error instanceof VaultError && kinds.includes(error.kind);
}
