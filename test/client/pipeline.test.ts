import test from "ava";
import type { PublishRequest } from "../../gen/messagevault/v1/vault_pb.ts";
import { encodeBatch } from "../../src/client.ts";
import type { PublishReceipt } from "../../src/client.ts";
import { isKind, VaultError } from "../../src/errors.ts";
import { answer, beSilent, createScriptedVault } from "../support/create-scripted-vault.ts";
import { createClient } from "../support/create-client.ts";
import { waitUntil } from "../support/wait-until.ts";

const batch = encodeBatch([{ value: "x" }]);

async function* answerAll(requests: AsyncIterable<PublishRequest>) {
  for await (const request of requests) yield answer(request);
}

test("pipeline - after a lost answer everything unanswered is sent again, in order and with its sequence", async (t) => {
  const seen: bigint[][] = [[], []];
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        for await (const request of requests) {
          seen[0]!.push(request.producer!.sequence);
          if (seen[0]!.length === 1) yield answer(request);
          if (seen[0]!.length === 4) throw new VaultError("indeterminate", "the answer is lost");
        }
      },
      async function* (requests) {
        for await (const request of requests) {
          seen[1]!.push(request.producer!.sequence);
          yield { ...answer(request), duplicate: request.producer!.sequence < 3n };
        }
      },
    ],
  });
  const pipeline = createClient(t, vault).pipeline({ producerId: "p" });
  const receipts = await Promise.all(Array.from({ length: 6 }, () => pipeline.publish("s", batch)));
  t.deepEqual(seen, [
    [0n, 1n, 2n, 3n],
    [1n, 2n, 3n, 4n, 5n],
  ]);
  t.deepEqual(
    receipts.map(({ firstOffset }) => firstOffset),
    [0n, 1n, 2n, 3n, 4n, 5n],
  );
  t.is(pipeline.acknowledged.duplicateCount, 2);
  t.is(pipeline.acknowledged.recordCount, 6);
});

test("pipeline - after a broken call one request goes alone until it is answered", async (t) => {
  const received: PublishRequest[] = [];
  const gate = Promise.withResolvers<void>();
  const vault = await createScriptedVault(t, {
    publish: [async (request) => answer(request)],
    publishStream: [
      async function* (requests) {
        for await (const _request of requests) throw new VaultError("unavailable", "not now", { retryAfterMs: 1 });
        yield {};
      },
      async function* (requests) {
        const reading = (async () => {
          for await (const request of requests) received.push(request);
        })();
        await gate.promise;
        for (let i = 0; i < 3; i++) {
          await waitUntil(() => received.length > i, "one more request arrives");
          yield answer(received[i]!);
        }
        await reading;
      },
    ],
  });
  const client = createClient(t, vault);
  const pipeline = client.pipeline();
  const all = Promise.all([1, 2, 3].map(() => pipeline.publish("s", batch)));
  await waitUntil(() => received.length > 0, "the first request comes again");
  // A call on the same connection: when it is answered, what was sent before it has arrived.
  await client.publish("s", [{ value: "x" }]);
  t.is(received.length, 1);
  gate.resolve();
  const receipts = await all;
  t.deepEqual(
    receipts.map(({ firstOffset }) => firstOffset),
    [0n, 1n, 2n],
  );
  await pipeline.close();
});

test("pipeline - a refusal ends it: the batch has the reason, those behind are not stored", async (t) => {
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        for await (const request of requests) {
          if (request.producer!.sequence === 1n)
            throw new VaultError("invalid", "bad batch", { field: "records[0].key" });
          yield answer(request);
        }
      },
    ],
  });
  const pipeline = createClient(t, vault).pipeline();
  const outcomes = await Promise.allSettled([1, 2, 3].map(() => pipeline.publish("s", batch)));
  t.is(outcomes[0]!.status, "fulfilled");
  const [refused, behind] = outcomes.slice(1).map((outcome) => (outcome as PromiseRejectedResult).reason as unknown);
  t.true(isKind(refused, "invalid") && refused.detail.field === "records[0].key");
  t.true(isKind(behind, "unavailable"));
  t.true(isKind(await t.throwsAsync(pipeline.publish("s", batch)), "invalid"));
  await pipeline.close();
});

test("pipeline - what a deadline ends says whether the batch may be stored", async (t) => {
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        for await (const _request of requests) throw new VaultError("indeterminate", "who knows");
        yield {};
      },
      async function* (requests) {
        for await (const _request of requests) throw new VaultError("unavailable", "not now", { retryAfterMs: 1 });
        yield {};
      },
    ],
  });
  const pipeline = createClient(t, vault).pipeline({ deadlineMs: 300 });
  const outcomes = await Promise.allSettled([pipeline.publish("s", batch), pipeline.publish("s", batch)]);
  const reasons = outcomes.map((outcome) => (outcome as PromiseRejectedResult).reason as unknown);
  t.true(isKind(reasons[0], "indeterminate"), String(reasons[0]));
});

test("pipeline - a vault that is full is asked again when it said", async (t) => {
  const times: number[] = [];
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        times.push(performance.now());
        for await (const _request of requests) throw new VaultError("overloaded", "slow down", { retryAfterMs: 250 });
        yield {};
      },
      async function* (requests) {
        times.push(performance.now());
        yield* answerAll(requests);
      },
    ],
  });
  await createClient(t, vault).pipeline().publish("s", batch);
  t.true(times[1]! - times[0]! >= 245, `asked again after ${times[1]! - times[0]!} ms`);
});

test("pipeline - a vault that does not answer is left for another connection", async (t) => {
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (_requests, context) {
        await beSilent(context);
        yield {};
      },
      answerAll,
    ],
  });
  const receipt = await createClient(t, vault).pipeline({ answerTimeoutMs: 100 }).publish("s", batch);
  t.is(receipt.firstOffset, 0n);
});

test("pipeline - no more is under way than was said, and room tells when more can be", async (t) => {
  const received: bigint[] = [];
  const gate = Promise.withResolvers<void>();
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        for await (const request of requests) {
          received.push(request.producer!.sequence);
          if (received.length === 3) gate.resolve();
          await gate.promise;
          yield answer(request);
        }
      },
    ],
  });
  const pipeline = createClient(t, vault).pipeline({ inFlightRequestsMax: 2 });
  t.is(pipeline.room(), undefined);
  t.is(pipeline.turn(), undefined);
  const publish = () => pipeline.publish("s", batch);
  const sent: Promise<PublishReceipt>[] = [publish(), publish()];
  const turn = pipeline.turn();
  t.not(turn, undefined);
  t.is(pipeline.room(), undefined, "as many may be ready as may be under way");
  sent.push(publish(), publish());
  const room = pipeline.room();
  t.not(room, undefined);
  await waitUntil(() => received.length > 0, "a request arrives");
  t.true(received.length <= 2);
  gate.resolve();
  await Promise.all([...sent, room, turn]);
  t.is(pipeline.room(), undefined);
  t.is(pipeline.turn(), undefined);
});

test("pipeline - sequences are counted for each stream, and expected offsets are passed on", async (t) => {
  const seen: string[] = [];
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        for await (const request of requests) {
          seen.push(`${request.stream} ${request.producer?.sequence} ${request.expectedOffset}`);
          yield answer(request);
        }
      },
    ],
  });
  const pipeline = createClient(t, vault).pipeline({ firstSequence: 7n });
  await Promise.all([
    pipeline.publish("a", batch, { expectedOffset: 3n }),
    pipeline.publish("b", batch),
    pipeline.publish("a", batch),
  ]);
  t.deepEqual(seen, ["a 7 3", "b 7 undefined", "a 8 undefined"]);
});

test("pipeline - an idle connection that broke is made anew by the next publish", async (t) => {
  const vault = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        for await (const request of requests) {
          yield answer(request);
          return;
        }
      },
    ],
  });
  const pipeline = createClient(t, vault).pipeline();
  for (let i = 0n; i < 3n; i++) t.is((await pipeline.publish("s", batch)).firstOffset, i);
});

test("pipeline - the next address is tried, and the leader where the vault names it", async (t) => {
  const calls: string[] = [];
  const leader = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        calls.push("leader");
        yield* answerAll(requests);
      },
    ],
  });
  const standby = await createScriptedVault(t, {
    publishStream: [
      async function* (requests) {
        calls.push("standby");
        for await (const _request of requests) {
          throw new VaultError("unavailable", "not the leader", { leader: leader.endpoint, retryAfterMs: 1 });
        }
        yield {};
      },
    ],
  });
  const client = createClient(t, { endpoint: "127.0.0.1:1" }, { addresses: ["127.0.0.1:1", standby.endpoint] });
  await client.pipeline().publish("s", batch);
  t.deepEqual(calls, ["standby", "leader"]);
});
