import test from "ava";
import { languages, provideExample } from "../../scripts/examples.ts";
import { edgeRecords, smallRecord } from "../support/interop-records.ts";
import { startPublisher, startSubscriber } from "../support/run-example.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";
import { waitUntil } from "../support/wait-until.ts";

test("examples - TypeScript's publisher and subscriber: every record arrives as it was, and both end in order", async (t) => {
  const vault = await startVaultProcess(t, ["--storage", "memory:"]);
  const example = (await provideExample(languages.find(({ name }) => name === "typescript")!))!;
  // The first address is nobody's.
  const addresses = `127.0.0.1:1,${vault.endpoint}`;
  const publisher = startPublisher(t, example, addresses, "records");
  for (const record of [...edgeRecords(), smallRecord(1), smallRecord(2)]) await publisher.give(record);
  const published = await publisher.finish();
  t.is(published.code, 0, published.errors);
  t.deepEqual(publisher.faults, []);
  t.is(publisher.acknowledgedCount, publisher.sent.length);

  const subscriber = startSubscriber(t, example, addresses, "records");
  await waitUntil(() => subscriber.received.length === publisher.sent.length, "every record has come", 30_000);
  const followed = await subscriber.interrupt();
  t.is(followed.code, 0, followed.errors);
  t.regex(followed.errors, new RegExp(`^next offset: ${publisher.sent.length}$`, "m"));
  t.deepEqual(subscriber.faults, []);
  t.deepEqual(subscriber.received, publisher.sent);
});
