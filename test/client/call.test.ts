import test from "ava";
import { isKind, VaultError } from "../../src/errors.ts";
import { createClient } from "../support/create-client.ts";
import { answer, createScriptedVault } from "../support/create-scripted-vault.ts";

test("publish - what was not stored is sent again", async (t) => {
  let calls = 0;
  const refuse = async () => {
    calls++;
    throw new VaultError("unavailable", "not now", { retryAfterMs: 1 });
  };
  const vault = await createScriptedVault(t, { publish: [refuse, refuse, async (request) => answer(request)] });
  await createClient(t, vault).publish("s", [{ value: "x" }]);
  t.is(calls, 2);
});

test("publish - what may be stored is sent again only with a producer", async (t) => {
  let calls = 0;
  const lose = async () => {
    calls++;
    throw new VaultError("indeterminate", "who knows");
  };
  const vault = await createScriptedVault(t, { publish: [lose, lose, async (request) => answer(request)] });
  const client = createClient(t, vault);
  t.true(isKind(await t.throwsAsync(client.publish("s", [{ value: "x" }])), "indeterminate"));
  t.is(calls, 1);
  const receipt = await client.publish("s", [{ value: "x" }], { producer: { id: "p", sequence: 4n } });
  t.is(receipt.firstOffset, 4n);
  t.is(calls, 2);
});

test("publish - a refusal is told at once, with its details", async (t) => {
  const found = { nextOffset: "7" };
  const refuse = async () => {
    throw new VaultError("conflict", "another was first", { condition: "expectedOffset", found });
  };
  const vault = await createScriptedVault(t, { publish: [refuse] });
  const error = await t.throwsAsync(createClient(t, vault).publish("s", [{ value: "x" }], { expectedOffset: 3n }));
  t.true(isKind(error, "conflict"));
  t.like((error as VaultError).detail, { condition: "expectedOffset", found });
});

test("call - ends when it is aborted, or its time is up", async (t) => {
  const never = () => new Promise<never>(() => undefined);
  const vault = await createScriptedVault(t, { publish: [never] });
  const client = createClient(t, vault);
  const timedOut = await t.throwsAsync(client.publish("s", [{ value: "x" }], { timeoutMs: 50 }));
  t.true(isKind(timedOut, "indeterminate"));
  const abort = new AbortController();
  const pending = client.publish("s", [{ value: "x" }], { signal: abort.signal });
  abort.abort();
  t.true(isKind(await t.throwsAsync(pending), "indeterminate"));
});

test("call - without a vault it fails after the time for retries, and nothing was sent", async (t) => {
  const client = createClient(t, { endpoint: "127.0.0.1:1" }, { retryForMs: 100 });
  t.true(isKind(await t.throwsAsync(client.getCluster()), "unavailable"));
  client.close();
  t.regex((await t.throwsAsync(client.getCluster())).message, /closed/);
});
