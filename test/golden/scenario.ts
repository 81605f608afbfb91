/** What happened to the vault whose storage is the golden data: every state that its format can be found in. */
import type { ExecutionContext } from "ava";
import type { BlobReader } from "../../src/blob/blob-store.ts";
import type { GoldenData, GoldenRecord, GoldenRequest } from "./golden-data.ts";
import { createGoldenVault } from "./golden-vault.ts";
import type { GoldenVault } from "./golden-vault.ts";

/** Makes the data in memory. The same each time, as long as the vault writes the same bytes. */
export async function makeGolden(
  t: ExecutionContext,
): Promise<{ store: BlobReader; made: Omit<GoldenData, "fileBytes"> }> {
  const vault = createGoldenVault(t);
  await firstLeader(vault);
  await vault.lead(4, "closed");
  await secondLeader(vault);
  await vault.lead(7, "killed");
  await thirdLeader(vault);
  const made = { epoch: 7, ...(await vault.finish()) };
  await vault.memory.createControl("cluster/leader", leaderMetadata(made.madeAt));
  return { store: vault.memory, made };
}

/** What an election of version 1 wrote at the least: written out here, as later ones add to it. */
function leaderMetadata(madeAt: number): Record<string, string> {
  return {
    epoch: "7",
    node: "0123456789abcdef0123456789abcdef",
    endpoint: "127.0.0.1:7070",
    since: String(madeAt - 60_000),
    breaks: "2",
    brokenat: String(madeAt - 60_000),
  };
}

async function firstLeader(vault: GoldenVault): Promise<void> {
  await vault.create("orders", "several segments, several leaders, producers; trimmed", { segmentBytes: 64 * 1024 });
  await publishOrders(vault, 0, 30);
  await vault.create("events", "keys, headers, event times, empty values, runs of records in commits of many frames");
  await publishEvents(vault);
  await vault.create("aged", "segments that were rolled by age", { segmentAgeMs: 3_600_000 });
  await vault.create("torn", "a commit of three frames of which the second did not arrive whole");
  await vault.publish("torn", by("writer", 1, text("acknowledged")), by("other", 1, text("acknowledged too")));
  await vault.create("torn-first", "a commit of one frame that did not arrive whole");
  await vault.create("Mixed.Case", "a name in capital letters");
  await vault.create("mixed.case", "the same name in small ones");
  await vault.publish("Mixed.Case", { records: [text("large")] });
  await vault.publish("mixed.case", { records: [text("small")] });
  await vault.create("con", "a name that some systems keep for devices");
  await vault.publish("con", { records: [text("not a device")] });
  await vault.create("quiet", "untouched since its first leader has shut down, with a checkpoint of its open segment");
  await vault.publish("quiet", by("writer", 7, text("a"), text("b")), by("writer", 8, text("c")));
}

async function secondLeader(vault: GoldenVault): Promise<void> {
  await publishOrders(vault, 30, 60);
  for (let hour = 0; hour < 3; hour++) {
    await vault.publish("aged", by("clock", hour, text(`hour ${hour}`)), { records: [text(`nobody's, hour ${hour}`)] });
    await vault.wait(3_600_000);
  }
  await vault.create("cleared", "trimmed to its end: an empty segment, whose index remembers the producers", {
    segmentAgeMs: 60_000,
  });
  await vault.publish("cleared", by("writer", 1, text("gone")), by("writer", 2, text("gone too")));
  await vault.wait(60_000);
  await vault.roll("cleared");
  await vault.trim("cleared", 2n);
  await vault.create("unindexed", "no segment has an index", { segmentAgeMs: 60_000 });
  await vault.publish("unindexed", by("writer", 1, text("in the first segment")));
  await vault.wait(60_000);
  await vault.publish("unindexed", by("writer", 2, text("in the second")));
  await vault.wait(60_000);
  await vault.publish("unindexed", by("writer", 3, text("in the third")));
  await vault.lose("unindexed", /\.index$/);
  await vault.create("empty", "a segment without a record");
  await vault.create("bare", "no segment");
  await vault.lose("bare", /\.segment$/);
  await vault.publish("torn-first", by("writer", 1, text("acknowledged")));
}

async function thirdLeader(vault: GoldenVault): Promise<void> {
  await publishOrders(vault, 60, 75);
  await vault.trim("orders", 77n);
  await vault.publish("torn", by("writer", 2, text("by the last leader")));
  await vault.publish("torn", ...[3, 4, 5].map((sequence) => by("writer", sequence, text("torn ", 500))));
  await vault.tear("torn", 2, (frames) => [frames[1]!.position, frames[2]!.position]);
  await vault.publish("torn-first", by("writer", 2, text("lost ", 1000)));
  await vault.tear("torn-first", 1, ([frame]) => [frame!.position + 1024, frame!.endPosition]);
  await vault.create("sealed", "a seal, and no segment behind it", { segmentAgeMs: 60_000 });
  await vault.publish("sealed", by("writer", 1, text("sealed")));
  await vault.wait(60_000);
  const refused = by("writer", 2, text("refused"));
  await vault.interrupt("sealed", "createPages", () => true, { kind: "publish", request: refused });
  await vault.create("deleted", "sealed for ever, and then nothing more was done to delete it");
  await vault.publish("deleted", { records: [text("deleted")] });
  await vault.interrupt("deleted", "remove", () => true, { kind: "delete" });
  await vault.create("half-deleted", "deleted but for its segments");
  await vault.publish("half-deleted", { records: [text("deleted")] });
  await vault.interrupt("half-deleted", "remove", isSegment, { kind: "delete" });
  await vault.create("reborn", "made anew while an earlier life is not quite deleted");
  await vault.publish("reborn", by("writer", 1, text("in the first life")));
  await vault.interrupt("reborn", "remove", isSegment, { kind: "delete" });
  await vault.create("reborn", "made anew while an earlier life is not quite deleted");
  await vault.publish("reborn", by("writer", 1, text("in the second life")));
}

/**
 * Requests `from` to `to` of 75: of one producer that has more of them than are remembered, and one that publishes only
 * what will be trimmed.
 */
async function publishOrders(vault: GoldenVault, from: number, to: number): Promise<void> {
  for (let number = from; number < to; number++) {
    const records = [text(`order ${number}, `, 240), { key: { text: `key ${number}` } }];
    await vault.publish("orders", by("checkout", 100 + number, ...records));
    if (number < 5) await vault.publish("orders", by("early", number, text(`early ${number}`)));
  }
}

async function publishEvents(vault: GoldenVault): Promise<void> {
  await vault.publish("events", { records: [{}, text(""), { key: { hex: "00ff80" }, value: { hex: "0a00" } }] });
  const headers = [
    { name: "traceparent", value: { text: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } },
    { name: "größe", value: { text: "名前 \u{1f980}" } },
    { name: "", value: { hex: "" } },
    { name: "größe", value: { hex: "fffe" } },
  ];
  const eventTime = { seconds: "-62135596800", nanos: 1 };
  await vault.publish("events", { records: [{ key: { text: "k".repeat(1024) }, headers, eventTime }] });
  await vault.publish("events", by("ünique \u{1f980}", 2 ** 40, { value: { text: "v" }, headers }));
  // Offsets of two bytes; and a value that looks like a frame.
  const run = Array.from({ length: 150 }, (_, at) => text(`${at}`));
  await vault.publish("events", { records: run }, { records: run }, by("batch", 0, ...run));
  const looksLikeFrame = { value: { hex: `4d564601${"00".repeat(124)}` } };
  const late = { eventTime: { seconds: "253402300799", nanos: 999_999_999 } };
  await vault.publish(
    "events",
    { records: [looksLikeFrame, late, text("large ", 20_000)] },
    { records: [text("end")] },
  );
}

function isSegment(blob: string): boolean {
  return blob.endsWith(".segment");
}

function text(value: string, times?: number): GoldenRecord {
  return { value: times === undefined ? { text: value } : { text: value, times } };
}

function by(id: string, sequence: number, ...records: GoldenRecord[]): GoldenRequest {
  return { producer: { id, sequence: String(sequence) }, records };
}
