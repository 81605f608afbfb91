/**
 * What clients did and saw: one operation a line, as JSON. docs/correctness.md has the form. Times are milliseconds of
 * one clock that all clients share; offsets and sequences are numbers; a record is known by its value, a text that no
 * other record of the history has.
 */

/** What every operation has. */
interface Operation {
  /** Who called. */
  readonly client: string;
  readonly stream: string;
  /** The stream's incarnation; undefined where the caller did not learn it. */
  readonly incarnation?: string | undefined;
  readonly calledAt: number;
  /** When the answer came; undefined where none came. */
  readonly endedAt?: number | undefined;
}

/** A batch that was published. Each attempt is an operation, also where the same batch is sent again. */
export interface Append extends Operation {
  readonly op: "append";
  readonly values: readonly string[];
  readonly expectedOffset?: number | undefined;
  readonly producer?: string | undefined;
  readonly sequence?: number | undefined;
  /** `refused`: it was not stored, and will not be. `unknown`: it may be, or may be later. */
  readonly outcome: "ok" | "refused" | "unknown";
  /** Where it is stored, where it is `ok`. */
  readonly firstOffset?: number | undefined;
  /** The record's timestamp, in milliseconds since 1970, where it is `ok`. */
  readonly timestamp?: number | undefined;
  /** Whether it was stored by an attempt before. */
  readonly duplicate?: boolean | undefined;
  /** The next offset that a refused `expectedOffset` met. */
  readonly foundOffset?: number | undefined;
  /** The last sequence that a refused `sequence` met. */
  readonly foundSequence?: number | undefined;
  /** Why not, for people. */
  readonly reason?: string | undefined;
}

/** A look at the stream's end. */
export interface Tail extends Operation {
  readonly op: "tail";
  readonly outcome: "ok";
  readonly nextOffset: number;
}

/** A read that went on to the end as it stood at some moment of the call, from `firstOffset` on. */
export interface Read extends Operation {
  readonly op: "read";
  readonly outcome: "ok";
  readonly firstOffset: number;
  readonly values: readonly string[];
  readonly nextOffset: number;
}

/** A run of records that a subscription got. */
export interface Delivery extends Operation {
  readonly op: "delivery";
  readonly outcome: "ok";
  /** The offset of each record: with a filter there are gaps. */
  readonly offsets: readonly number[];
  readonly values: readonly string[];
  /** The timestamp of each record, in milliseconds since 1970. */
  readonly timestamps: readonly number[];
  /** The offset behind what was looked at. */
  readonly nextOffset: number;
}

/** Records before `firstOffset` may be missing from now on. */
export interface Trim extends Operation {
  readonly op: "trim";
  readonly outcome: "ok" | "unknown";
  readonly firstOffset: number;
}

/** The stream may be gone, and be made anew, from the call on. */
export interface Delete extends Operation {
  readonly op: "delete";
  readonly outcome: "ok" | "unknown";
}

/** A line of a history. */
export type HistoryOperation = Append | Tail | Read | Delivery | Trim | Delete;

/** The history as JSON lines. */
export function encodeHistory(operations: readonly HistoryOperation[]): string {
  return operations.map((operation) => `${JSON.stringify(operation)}\n`).join("");
}

/** Reads JSON lines. Throws where a line is none of these operations. */
export function decodeHistory(text: string): HistoryOperation[] {
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line, at) => {
    const operation = JSON.parse(line) as HistoryOperation;
    const known = ["append", "tail", "read", "delivery", "trim", "delete"].includes(operation.op);
    if (!known || typeof operation.stream !== "string" || typeof operation.calledAt !== "number") {
      throw new Error(`line ${at + 1} is no operation: ${line.slice(0, 200)}`);
    }
    return operation;
  });
}

/**
 * The operations of each incarnation of each stream. An append with an unknown outcome names none: it may belong to any
 * of its stream, and is in all of them. What was refused is left out where a stream had several.
 */
export function byIncarnation(operations: readonly HistoryOperation[]): Map<string, HistoryOperation[]> {
  const groups = new Map<string, HistoryOperation[]>();
  const incarnations = new Map<string, Set<string>>();
  for (const { stream, incarnation } of operations) {
    const known = incarnations.get(stream) ?? new Set();
    incarnations.set(stream, known);
    if (incarnation !== undefined) known.add(incarnation);
  }
  for (const [stream, known] of incarnations) {
    const own = operations.filter((operation) => operation.stream === stream);
    for (const incarnation of known.size === 0 ? [undefined] : known) {
      const key = incarnation === undefined ? stream : `${stream}/${incarnation}`;
      const fits = ({ incarnation: named, outcome }: HistoryOperation) =>
        named === incarnation || (named === undefined && (known.size <= 1 || outcome === "unknown"));
      groups.set(key, own.filter(fits));
    }
  }
  return groups;
}
