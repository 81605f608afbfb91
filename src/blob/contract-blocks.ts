import type { BlobStore, ListPage } from "./blob-store.ts";
import { listLimitMax, pageBytes, putBytesMax } from "./blob-store.ts";
import type { ContractCheck } from "./contract-check.ts";
import { expectEqual, expectRejection, filledBytes, heldFence, nameAndSize, outcomeOf } from "./contract-check.ts";

/** Block blobs, properties, removal, listing. */
export const blockChecks: readonly ContractCheck[] = [
  {
    title: "put and get - the bytes come back with the version; what is missing is undefined",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      expectEqual("before", await store.get(name), undefined);
      for (const sizeBytes of [0, 1, 5000, 3 * 1024 * 1024]) {
        const bytes = filledBytes(sizeBytes, 1);
        const etag = await store.put(name, bytes, "always");
        const got = await store.get(name);
        expectEqual(`${sizeBytes} bytes`, got?.bytes, bytes);
        expectEqual("version", got?.etag, etag);
        const found = await store.properties(name);
        expectEqual("size", found?.sizeBytes, sizeBytes);
        expectEqual("version told", found?.etag, etag);
        expectEqual("sequence number", found?.sequenceNumber, 0);
      }
      expectEqual("a range", (await store.read(name, 10, 20)).bytes, filledBytes(100, 1).subarray(10, 30));
      await expectRejection("too large", store.put(name, Buffer.alloc(putBytesMax + 1), "always"), "invalid");
    },
  },
  {
    title: "put under ifNoneMatch - only where there is none",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const etag = await store.put(name, Buffer.from("first"), { ifNoneMatch: "*" });
      await expectRejection("again", store.put(name, Buffer.from("second"), { ifNoneMatch: "*" }), "alreadyExists");
      const got = await store.get(name);
      expectEqual("bytes", got?.bytes.toString(), "first");
      expectEqual("version", got?.etag, etag);
    },
  },
  {
    title: "put under ifMatch - only over that version, and never where there is none",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const first = await store.put(name, Buffer.from("first"), "always");
      const second = await store.put(name, Buffer.from("second"), { ifMatch: first });
      expectEqual("version changed", second !== first, true);
      const stale = store.put(name, Buffer.from("third"), { ifMatch: first });
      await expectRejection("old version", stale, "conflict", "etag");
      expectEqual("bytes", (await store.get(name))?.bytes.toString(), "second");
      await store.remove(name);
      const gone = store.put(name, Buffer.from("fourth"), { ifMatch: second });
      await expectRejection("no blob", gone, "conflict", "etag");
      expectEqual("blob", await store.get(name), undefined);
    },
  },
  {
    title: "put under ifMatch - of eight at once exactly one is carried out",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const etag = await store.put(name, Buffer.from("start"), "always");
      const puts = Array.from({ length: 8 }, (_, index) => store.put(name, Buffer.from(`${index}`), { ifMatch: etag }));
      const outcomes = await Promise.all(puts.map(outcomeOf));
      expectEqual("outcomes", outcomes.toSorted(), [...Array<string>(7).fill("conflict (etag)"), "done"]);
      expectEqual("bytes", (await store.get(name))?.bytes.toString(), `${outcomes.indexOf("done")}`);
    },
  },
  {
    title: "put under ifNoneMatch - of eight at once exactly one is carried out",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      const puts = Array.from({ length: 8 }, (_, index) =>
        store.put(name, Buffer.from(`${index}`), { ifNoneMatch: "*" }),
      );
      const outcomes = await Promise.all(puts.map(outcomeOf));
      expectEqual("outcomes", outcomes.toSorted(), [...Array<string>(7).fill("alreadyExists"), "done"]);
      expectEqual("bytes", (await store.get(name))?.bytes.toString(), `${outcomes.indexOf("done")}`);
    },
  },
  {
    title: "bytes - are the store's own: what callers do to theirs changes nothing",
    async run(store, prefix) {
      const given = Buffer.from("given");
      await store.put(`${prefix}blob`, given, "always");
      given.fill(0);
      const got = await store.get(`${prefix}blob`);
      got?.bytes.fill(0);
      expectEqual("bytes", (await store.get(`${prefix}blob`))?.bytes.toString(), "given");
    },
  },
  {
    title: "properties - undefined where there is no blob; the date is storage's own",
    async run(store, prefix, clock) {
      expectEqual("missing", await store.properties(`${prefix}missing`), undefined);
      await store.put(`${prefix}blob`, Buffer.from("x"), "always");
      const found = await store.properties(`${prefix}blob`);
      const apart = Math.abs((found?.date ?? 0) - clock.now());
      if (apart > 60_000) throw new Error(`date: storage's clock and this machine's are ${apart} ms apart`);
    },
  },
  {
    title: "remove - tells whether there was one, and under ifMatch takes only that version",
    async run(store, prefix) {
      const name = `${prefix}blob`;
      expectEqual("nothing there", await store.remove(name), false);
      expectEqual("nothing there under a version", await store.remove(name, '"0x1"'), false);
      const first = await store.put(name, Buffer.from("first"), "always");
      const second = await store.put(name, Buffer.from("second"), "always");
      await expectRejection("old version", store.remove(name, first), "conflict", "etag");
      expectEqual("still there", (await store.get(name))?.bytes.toString(), "second");
      expectEqual("right version", await store.remove(name, second), true);
      expectEqual("gone", await store.get(name), undefined);
      await store.createPages(name, pageBytes, heldFence(1));
      expectEqual("a page blob", await store.remove(name), true);
      expectEqual("gone again", await store.properties(name), undefined);
      expectEqual("listing", (await store.list(name, 10)).items, []);
    },
  },
  {
    title: "list - byte order, sizes of both kinds, prefixes that end anywhere, pages that join without a gap",
    async run(store, prefix) {
      const names = ["a", "a-b", "a.c/x", "a/x", "a/y.segment", "a0", "b/c/d/e", "Z", "z"].map((name) => prefix + name);
      for (const [index, name] of names.toReversed().entries()) {
        if (name.endsWith(".segment")) await store.createPages(name, 3 * pageBytes, heldFence(1));
        else if (!name.endsWith("a")) await store.put(name, Buffer.alloc(index), "always");
      }
      const sorted = names.filter((name) => !name.endsWith("a")).toSorted();
      for (const limit of [1, 2, 3, listLimitMax]) {
        const found = await allPages((from) => store.list(prefix, limit, from), limit);
        expectEqual(
          `names by ${limit}`,
          found.map(({ name }) => name),
          sorted,
        );
      }
      const { items } = await store.list(`${prefix}a/y`, 10);
      expectEqual("page blob", items.map(nameAndSize), [{ name: `${prefix}a/y.segment`, sizeBytes: 3 * pageBytes }]);
      expectEqual("by part of a name", (await store.list(`${prefix}a-`, 10)).items.length, 1);
      expectEqual("by a folder", (await store.list(`${prefix}a/`, 10)).items.length, 2);
      expectEqual("nothing", (await store.list(`${prefix}nothing/`, 10)).items, []);
      for (const limit of [0, listLimitMax + 1, 1.5]) {
        await expectRejection(`limit ${limit}`, store.list(prefix, limit), "invalid");
      }
    },
  },
  {
    title: "names - case counts",
    async run(store, prefix) {
      const names = ["Orders/x", "ORDERS/x", "orders/x", "orders/X", "oRders/x"].map((name) => prefix + name);
      for (const name of names) {
        expectEqual(name, await store.get(name), undefined);
        await store.put(name, Buffer.from(name), { ifNoneMatch: "*" });
      }
      for (const name of names) expectEqual(name, (await store.get(name))?.bytes.toString(), name);
      const { items } = await store.list(prefix, 10);
      expectEqual(
        "listing",
        items.map(({ name }) => name),
        names.toSorted(),
      );
      const folders = await store.listFolders(prefix, 10);
      expectEqual(
        "folders",
        folders.items,
        ["ORDERS", "Orders", "oRders", "orders"].map((name) => prefix + name),
      );
    },
  },
  {
    title: "list folders - each once, in byte order of the names with their slash, in pages; blobs are no folders",
    async run(store, prefix) {
      const names = ["s/a-b/x", "s/a/x", "s/a/y/z", "s/a.c/x", "s/b0/x", "s/file", "s/B/x/y", "t/x"];
      for (const name of names) await store.put(prefix + name, Buffer.from("x"), "always");
      const folders = ["s/B", "s/a-b", "s/a.c", "s/a", "s/b0"].map((name) => prefix + name);
      for (const limit of [1, 2, 4, 100]) {
        const found = await allPages((from) => store.listFolders(`${prefix}s/`, limit, from), limit);
        expectEqual(`folders by ${limit}`, found, folders);
      }
      expectEqual("by part of a name", (await store.listFolders(`${prefix}s/a`, 10)).items, folders.slice(1, 4));
      await store.remove(`${prefix}s/b0/x`);
      expectEqual("an emptied folder", (await store.listFolders(`${prefix}s/b`, 10)).items, []);
    },
  },
];

async function allPages<T>(listPage: (from?: string) => Promise<ListPage<T>>, limit: number): Promise<T[]> {
  const items: T[] = [];
  let from: string | undefined;
  do {
    const page = await listPage(from);
    if (page.items.length > limit) throw new Error(`a page of ${page.items.length} for a limit of ${limit}`);
    items.push(...page.items);
    from = page.next;
  } while (from !== undefined);
  return items;
}

/** Deletes everything that begins with `prefix`, leased or not. */
export async function removeAll(store: BlobStore, prefix: string): Promise<void> {
  for (const { name } of await allPages((from) => store.list(prefix, listLimitMax, from), listLimitMax)) {
    const found = await store.properties(name);
    if (found?.leased === true) await store.breakLease(name, found.etag);
    await store.remove(name);
  }
}
