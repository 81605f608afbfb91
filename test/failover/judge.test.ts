/** The judge of the failover tests finds what it is there to find. */
import { connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import test from "ava";
import { VaultError } from "../../src/errors.ts";
import { checkHistory } from "../support/check-history.ts";
import type { Verdict } from "../support/check-history.ts";
import { createFenceWitness } from "../support/create-fence-witness.ts";
import { createNodeLink, watchOwnPorts } from "../support/create-node-link.ts";
import { createHistory, longestGap } from "../support/failover-history.ts";
import type { History, Reader } from "../support/failover-history.ts";
import { findFreePort } from "../support/find-free-port.ts";
import type { StoredStream } from "../support/read-stored-stream.ts";
import { waitUntil } from "../support/wait-until.ts";

const good = { acknowledged: 3, lost: 0, duplicated: 0, vanished: 0, staleWrites: 0, publishFailures: 0 };

/** Three records at offsets 0 to 2, acknowledged and read. */
function createRun(): { history: History; reader: Reader; stored: StoredStream } {
  const history = createHistory();
  for (let offset = 0; offset < 3; offset++) {
    const rest = { nextOffset: BigInt(offset + 1), timestamp: 0, duplicate: false, incarnation: "", stream: "s" };
    history.noteStored(history.begin("s", "one/0"), { firstOffset: BigInt(offset), ...rest });
  }
  const stop = () => Promise.resolve();
  const reader: Reader = { name: "r", stream: "s", node: "a", ids: [0, 1, 2], faults: [], interruptions: [], stop };
  const stored = { stream: "s", ids: [0, 1, 2], epochs: [1], staleFrames: [], faults: [], segmentCount: 1 };
  return { history, reader, stored };
}

function judge(history: History, reader: Reader, stored: StoredStream): Verdict {
  return checkHistory({ ...history, readers: [reader] }, [stored], []);
}

test("failover judge - a good history passes", (t) => {
  const { history, reader, stored } = createRun();
  t.deepEqual(judge(history, reader, stored), { ...good, faults: [] });
});

test("failover judge - a record that is not there is lost, and vanished for who read it", (t) => {
  const { history, reader, stored } = createRun();
  const { faults, ...counts } = judge(history, reader, { ...stored, ids: [0, 2] });
  t.deepEqual(counts, { ...good, lost: 2, vanished: 2 });
  t.is(faults.length, 3);
});

test("failover judge - a record that is there twice is found", (t) => {
  const { history, reader, stored } = createRun();
  const { faults, ...counts } = judge(history, { ...reader, ids: [0, 1, 2, 1] }, { ...stored, ids: [0, 1, 2, 1] });
  t.deepEqual(counts, { ...good, duplicated: 1 });
  t.regex(faults.join(), /stored at 1 and at 3/);
});

test("failover judge - a frame of an older epoch is a stale write", (t) => {
  const { history, reader, stored } = createRun();
  const { staleWrites } = judge(history, reader, { ...stored, staleFrames: ["epoch 1 behind 2"] });
  t.is(staleWrites, 1);
});

test("failover judge - what was refused must not be stored, what is unknown may be", (t) => {
  for (const [kind, fault] of [["unavailable", /all the same/] as const, ["indeterminate", /^$/] as const]) {
    const { history, reader, stored } = createRun();
    history.noteFailed(history.begin("s", "one/0"), new VaultError(kind, "no"));
    const verdict = judge(history, { ...reader, ids: [0, 1, 2, 3] }, { ...stored, ids: [0, 1, 2, 3] });
    t.is(verdict.publishFailures, 1);
    t.regex(verdict.faults.join(), fault);
  }
});

test("failover judge - a publisher's records out of order are found, and a subscriber that lags", (t) => {
  const { history, reader, stored } = createRun();
  const [first, second] = history.attempts;
  Object.assign(first!, { offset: 1 });
  Object.assign(second!, { offset: 0 });
  const verdict = judge(history, { ...reader, ids: [1] }, { ...stored, ids: [1, 0, 2] });
  t.regex(verdict.faults.join(), /out of order at 0/);
  t.regex(verdict.faults.join(), /has read 1 of 3/);
});

test("failover judge - a stale write that storage accepts is seen on the way, one that it refuses is not counted", (t) => {
  const witness = createFenceWitness();
  const write = (epoch: number) => {
    const headers = { "x-ms-if-sequence-number-eq": String(epoch) };
    return witness.see({ method: "PUT", url: "/account/container/s.segment?comp=page", headers });
  };
  const raise = { "x-ms-sequence-number-action": "max", "x-ms-blob-sequence-number": "2" };
  const underWay = write(1);
  witness.see({ method: "PUT", url: "/account/container/s.segment?comp=properties", headers: raise })(200, raise);
  // Sent before the raise was answered: storage may have carried it out before.
  underWay(201, {});
  write(2)(201, {});
  write(1)(412, {});
  t.deepEqual(witness.staleWrites, []);
  t.is(witness.refusedCount, 1);
  write(1)(201, {});
  t.is(witness.staleWrites.length, 1);
});

test("failover judge - a gap that began before counts, one that was over does not", (t) => {
  t.is(longestGap([0, 10, 500, 510, 520, 3000], 505, 600), 2480);
  t.is(longestGap([0, 10, 500, 510, 520], 100, 600), 490);
  t.is(longestGap([], 0, 1), 0);
});

test("failover judge - a network that is held and opened passes on each byte once, clients' at once", async (t) => {
  const echo = createServer((socket) => void socket.pipe(socket));
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  t.teardown(() => void echo.close());
  const clientPorts = watchOwnPorts(t);
  const { port } = echo.address() as AddressInfo;
  const links = [clientPorts, new Set<number>()].map(async (ports) => {
    const link = createNodeLink(t, await findFreePort(t), port, ports);
    await link.set("open");
    const socket = connect(Number(link.endpoint.split(":")[1]), "127.0.0.1");
    t.teardown(() => void socket.destroy());
    let received = "";
    socket.on("data", (bytes: Buffer) => (received += bytes.toString()));
    return { link, send: (text: string) => void socket.write(text), received: () => received };
  });
  const [client, node] = await Promise.all(links);
  for (const text of ["a", "b"]) {
    for (const one of [client!, node!]) {
      await one.link.set("held");
      one.send(text);
    }
    await waitUntil(() => client!.received().endsWith(text), `the client hears ${text}`);
    t.false(node!.received().endsWith(text));
    for (const one of [client!, node!]) await one.link.set("open");
    await waitUntil(() => node!.received().endsWith(text), `the node hears ${text}`);
  }
  t.deepEqual([client!.received(), node!.received()], ["ab", "ab"]);
});
