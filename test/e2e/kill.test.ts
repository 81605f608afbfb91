/** SIGKILL in the middle of publishing, at random moments: what was acknowledged is there, once, where it was said. */
import test from "ava";
import { createAzurite } from "../support/create-azurite.ts";
import { createDirectory } from "../support/create-directory.ts";
import { surviveKills } from "../support/survive-kills.ts";
import { verifyStorage, verifyStore } from "../support/verify-storage.ts";

test.serial("kill - twenty kills on file storage lose nothing that was acknowledged", async (t) => {
  t.timeout(180_000);
  const storage = `file:${await createDirectory(t)}/data`;
  await surviveKills(t, { storage, kills: 20, seed: 1 });
  t.deepEqual((await verifyStorage(storage)).findings, []);
});

test.serial("kill - four kills of the vault while Azurite lives on lose nothing that was acknowledged", async (t) => {
  t.timeout(180_000);
  const azurite = await createAzurite(t);
  await surviveKills(t, { storage: azurite.setting, kills: 4, seed: 2 });
  t.deepEqual((await verifyStore(await azurite.open())).findings, []);
});
