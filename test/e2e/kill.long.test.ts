/** SIGKILL in the middle of publishing, at random moments: as kill.test.ts, at others and more. */
import test from "ava";
import { createAzurite } from "../support/create-azurite.ts";
import { createDirectory } from "../support/create-directory.ts";
import { surviveKills } from "../support/survive-kills.ts";
import { verifyStorage, verifyStore } from "../support/verify-storage.ts";

for (const seed of [11, 12]) {
  test.serial(`kill - twenty kills on file storage lose nothing that was acknowledged (seed ${seed})`, async (t) => {
    t.timeout(300_000);
    const storage = `file:${await createDirectory(t)}/data`;
    await surviveKills(t, { storage, kills: 20, seed });
    t.deepEqual((await verifyStorage(storage)).findings, []);
  });
}

test.serial("kill - twenty kills of the vault while Azurite lives on lose nothing that was acknowledged", async (t) => {
  t.timeout(300_000);
  const azurite = await createAzurite(t);
  await surviveKills(t, { storage: azurite.setting, kills: 20, seed: 13 });
  t.deepEqual((await verifyStore(await azurite.open())).findings, []);
});
