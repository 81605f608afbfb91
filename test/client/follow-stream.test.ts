import test from "ava";
import type { SubscribeRequest } from "../../gen/messagevault/v1/vault_pb.ts";
import type { Delivery, VaultClient } from "../../src/client.ts";
import { isKind, VaultError } from "../../src/errors.ts";
import { createClient } from "../support/create-client.ts";
import { beSilent, createScriptedVault } from "../support/create-scripted-vault.ts";
import { waitUntil } from "../support/wait-until.ts";

function records(from: number, to: number) {
  return Array.from({ length: to - from }, (_, i) => ({ offset: BigInt(from + i), value: Buffer.from("x") }));
}

async function collect(deliveries: AsyncIterable<Delivery>): Promise<bigint[]> {
  const offsets: bigint[] = [];
  for await (const delivery of deliveries) offsets.push(...delivery.records.map(({ offset }) => offset));
  return offsets;
}

function range(from: number, to: number): bigint[] {
  return records(from, to).map(({ offset }) => offset);
}

test("follow stream - goes on behind the last record when a call breaks", async (t) => {
  const requests: SubscribeRequest[] = [];
  const vault = await createScriptedVault(t, {
    subscribe: [
      async function* (request) {
        requests.push(request);
        yield { records: records(3, 6), nextOffset: 6n, tailOffset: 9n, incarnation: "feed" };
        throw new VaultError("unavailable", "shutting down", { retryAfterMs: 1 });
      },
      async function* (request) {
        requests.push(request);
        yield { records: records(6, 8), nextOffset: 8n, tailOffset: 9n };
        throw new VaultError("indeterminate", "lost");
      },
      async function* (request) {
        requests.push(request);
        yield { records: records(8, 9), nextOffset: 9n, tailOffset: 12n };
      },
    ],
  });
  const client = createClient(t, vault);
  const offsets = await collect(
    client.subscribe("s", { start: { at: "last", count: 6n }, end: { at: "tail" } }).batches(),
  );
  t.deepEqual(offsets, range(3, 9));
  t.deepEqual(
    requests.map(({ start }) => start.value),
    [6n, 6n, 8n],
  );
  t.deepEqual(
    requests.map(({ start }) => start.case),
    ["last", "offset", "offset"],
  );
  t.deepEqual(
    requests.map(({ end }) => end.case),
    ["untilTail", "untilOffset", "untilOffset"],
  );
  t.deepEqual(
    requests.map(({ incarnation }) => incarnation),
    ["", "feed", "feed"],
  );
});

test("follow stream - a vault that misses its heartbeats is left for another connection", async (t) => {
  const vault = await createScriptedVault(t, {
    subscribe: [
      async function* (_request, context) {
        yield { records: records(0, 1), nextOffset: 1n, tailOffset: 1n };
        await beSilent(context);
      },
      async function* () {
        yield { records: records(1, 2), nextOffset: 2n, tailOffset: 2n };
      },
    ],
  });
  const subscription = createClient(t, vault)
    .subscribe("s", { start: { at: "earliest" }, end: { at: "count", count: 2n }, heartbeatMs: 100 })
    .batches();
  t.deepEqual(await collect(subscription), range(0, 2));
});

test("follow stream - a slow reader is no missed heartbeat, and holds the vault back", async (t) => {
  let sent = 0;
  let calls = 0;
  const payload = Buffer.alloc(512 * 1024);
  const vault = await createScriptedVault(t, {
    subscribe: [
      async function* () {
        calls++;
        for (let i = 0n; i < 200n; i++) {
          sent++;
          yield { records: [{ offset: i, value: payload }], nextOffset: i + 1n, tailOffset: 200n };
        }
      },
    ],
  });
  const client = createClient(t, vault);
  const subscription = client.subscribe("s", { start: { at: "earliest" }, heartbeatMs: 100 }).batches();
  await subscription.next();
  let settled = 0;
  let since = performance.now();
  await waitUntil(
    () => {
      if (sent !== settled) [settled, since] = [sent, performance.now()];
      return performance.now() - since > 500;
    },
    "the vault stops sending",
    30_000,
  );
  t.true(sent < 100, `${sent} responses were sent to a reader that read one`);
  const rest = await collect(subscription);
  t.is(rest.length, 199);
  t.is(calls, 1);
});

test("follow stream - what the vault refuses is thrown at once", async (t) => {
  const refuse = () => {
    throw new VaultError("outOfRange", "too early", { found: { firstOffset: "5" } });
  };
  const vault = await createScriptedVault(t, { subscribe: [refuse] });
  const error = await t.throwsAsync(collect(createClient(t, vault).subscribe("s").batches()));
  t.true(isKind(error, "outOfRange"));
});

test("follow stream - gives up after the time that it was given", async (t) => {
  const client = createClient(t, { endpoint: "127.0.0.1:1" }, { retryForMs: 200 });
  const error = await t.throwsAsync(collect(client.subscribe("s").batches()));
  t.true(isKind(error, "unavailable"));
  t.regex(error.message, /no connection to 127\.0\.0\.1:1: ECONNREFUSED/);
});

async function openEndless(
  t: Parameters<typeof createClient>[0],
): Promise<{ client: VaultClient; open: () => number }> {
  let open = 0;
  const vault = await createScriptedVault(t, {
    subscribe: [
      async function* (_request, context) {
        open++;
        yield { nextOffset: 0n, caughtUp: true };
        await beSilent(context);
        open--;
      },
    ],
  });
  return { client: createClient(t, vault), open: () => open };
}

test("follow stream - ends without an error when it is aborted, and the vault hears of it", async (t) => {
  const { client, open } = await openEndless(t);
  const abort = new AbortController();
  const subscription = client.subscribe("s", { signal: abort.signal }).batches();
  await subscription.next();
  t.is(open(), 1);
  const end = subscription.next();
  abort.abort();
  t.true((await end).done);
  await waitUntil(() => open() === 0, "the vault's call ends");
});

test("follow stream - leaving the loop ends the call", async (t) => {
  const { client, open } = await openEndless(t);
  for await (const delivery of client.subscribe("s").batches()) {
    t.true(delivery.caughtUp);
    break;
  }
  await waitUntil(() => open() === 0, "the vault's call ends");
});
