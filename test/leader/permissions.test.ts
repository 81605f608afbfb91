import {
  ContainerSASPermissions,
  StorageSharedKeyCredential,
  generateBlobSASQueryParameters,
} from "@azure/storage-blob";
import test from "ava";
import type { ExecutionContext } from "ava";

import { openStore } from "../../src/blob/open-store.ts";
import { systemClock } from "../../src/clock.ts";
import { VaultError, isKind } from "../../src/errors.ts";
import { startElection } from "../../src/leader/election.ts";
import { silentLog } from "../../src/log.ts";
import { createAzurite } from "../support/create-azurite.ts";
import type { TestAzurite } from "../support/create-azurite.ts";
import { electionSettings } from "../support/create-cluster.ts";
import { createWatch } from "../support/create-watch.ts";
import { waitUntil } from "../support/wait-until.ts";

// The account of every Azurite, from its README.
const account = "devstoreaccount1";
const key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

function urlWithSas({ endpoint }: TestAzurite, permissions: string, container = "test"): string {
  const credential = new StorageSharedKeyCredential(account, key);
  const expiresOn = new Date(systemClock.now() + 3_600_000);
  const values = { containerName: container, permissions: ContainerSASPermissions.parse(permissions), expiresOn };
  return `${endpoint}/${account}/${container}?${generateBlobSASQueryParameters(values, credential).toString()}`;
}

async function start(t: ExecutionContext, setting: string) {
  const store = await openStore(setting, systemClock);
  t.teardown(() => store.close());
  const election = await startElection({
    store,
    clock: systemClock,
    log: silentLog,
    nodeId: systemClock.id(),
    endpoint: "127.0.0.1:1",
    settings: electionSettings,
    watch: createWatch(),
  });
  t.teardown(() => election.close());
  return election;
}

test("start - with the permissions that are asked for, a node leads by a SAS", async (t) => {
  const azurite = await createAzurite(t);
  await azurite.open();
  const election = await start(t, urlWithSas(azurite, "racwdl"));
  await waitUntil(() => election.role === "leader", "the node leads");
  t.pass();
});

test("start - a SAS that may not write is refused, and the message says what is missing", async (t) => {
  const azurite = await createAzurite(t);
  await azurite.open();
  await (await start(t, urlWithSas(azurite, "racwdl"))).close();

  const error = await t.throwsAsync(start(t, urlWithSas(azurite, "rl")), { instanceOf: VaultError });

  t.is(error.kind, "denied");
  t.regex(error.message, /a SAS with racwdl/);
});

test("start - a container that is not there and may not be made is named", async (t) => {
  const azurite = await createAzurite(t);
  const error = await t.throwsAsync(start(t, urlWithSas(azurite, "racwdl", "nowhere")), { instanceOf: VaultError });
  t.is(error.kind, "notFound");
  t.regex(error.message, /no container nowhere/);
});

test("start - a wrong key is refused at once", async (t) => {
  const azurite = await createAzurite(t);
  const setting = azurite.setting.replace(/AccountKey=[^;]+/, `AccountKey=${Buffer.alloc(64, 7).toString("base64")}`);
  const error = await t.throwsAsync(start(t, setting), { instanceOf: VaultError });
  // Azure calls it the one, Azurite the other.
  t.true(isKind(error, "unauthenticated", "denied"));
  t.regex(error.message, /storage does not (accept the credentials|allow it)/);
});
