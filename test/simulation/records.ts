/** Records of the simulation: their values are unique, and say their key, so that whoever reads one can tell. */
import type { Record as VaultRecord } from "../../gen/messagevault/v1/record_pb.ts";

/** A record to publish. */
export interface NewRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A batch: its records and what they are known by. */
export interface Batch {
  readonly records: readonly NewRecord[];
  readonly values: readonly string[];
}

const keys = ["a", "b", "ba", "c"];

/** Makes the records of a client's batch number `number`: one to four, of any size up to `bytesMax`. */
export function createBatch(random: () => number, client: string, number: number, bytesMax: number): Batch {
  const values: string[] = [];
  const records: NewRecord[] = [];
  const count = 1 + Math.floor(4 * random() ** 2);
  for (let i = 0; i < count; i++) {
    const key = keys[Math.floor(random() * keys.length)]!;
    const value = `${client}/${number}.${i}/${key}`;
    values.push(value);
    const padding = ".".repeat(Math.floor(bytesMax * random() ** 3));
    records.push({ key: Buffer.from(key), value: Buffer.from(`${value} ${padding}`) });
  }
  return { records, values };
}

/** What a record is known by; undefined where it is none of ours, or its key is another. */
export function valueOf({ key, value }: Pick<VaultRecord, "key" | "value">): string | undefined {
  const text = Buffer.from(value).toString();
  const end = text.indexOf(" ");
  const known = text.slice(0, end);
  const whole = end > 0 && /^ \.*$/.test(text.slice(end)) && keyOf(known) === Buffer.from(key).toString();
  return whole ? known : undefined;
}

/** The key of a record, by what it is known by. */
export function keyOf(value: string): string {
  return value.slice(value.lastIndexOf("/") + 1);
}
