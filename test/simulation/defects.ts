/**
 * Deliberate defects: each leaves out one thing that the design needs. A copy of the code is made with the defect in it,
 * and the simulation must find it. There is no switch in the code itself.
 */

/** A change of a source file: `find` must stand in it exactly once. */
export interface Edit {
  /** Below `src/`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A defect. */
export interface Defect {
  readonly name: string;
  readonly edits: readonly Edit[];
}

function defect(name: string, file: string, find: string, replace: string): Defect {
  return { name, edits: [{ file, find, replace }] };
}

/** All defects. */
export const defects: readonly Defect[] = [
  defect(
    "the end is read before the fence is raised",
    "stream/open-log.ts",
    `  const raised = await raise(opening, fence, last);
  if (raised === undefined) return undefined;
  const recovered = await readEnd(opening, segments, raised.sizeBytes);`,
    `  const recovered = await readEnd(opening, segments, (await engine.store.properties(last.blob))?.sizeBytes ?? 0);
  const raised = await raise(opening, fence, last);
  if (raised === undefined) return undefined;`,
  ),
  defect(
    "writes carry no If-Match",
    "blob/memory.ts",
    `      checkConditions(name, blob, ifMatch, fence.epoch);
      checkCapacity(bytes.length);`,
    `      checkConditions(name, blob, undefined, fence.epoch);
      checkCapacity(bytes.length);`,
  ),
  defect(
    "the fence is raised without changing the version",
    "blob/memory.ts",
    "      return { etag: changed(blob), sequenceNumber: blob.sequenceNumber };",
    "      return { etag: blob.etag, sequenceNumber: blob.sequenceNumber };",
  ),
  defect(
    "the fence is not raised at all",
    "blob/memory.ts",
    "      blob.sequenceNumber = Math.max(blob.sequenceNumber, fence.epoch);\n      return { etag: changed(blob), sequenceNumber: blob.sequenceNumber };",
    "      return { etag: blob.etag, sequenceNumber: fence.epoch };",
  ),
  defect(
    "acknowledged before the write",
    "stream/group-commit.ts",
    "      if (group.commit !== undefined) await this.write(log, group, group.commit);",
    "      for (const member of group.members) this.answer(member);\n      if (group.commit !== undefined) await this.write(log, group, group.commit);",
  ),
  defect(
    "a write that failed is sent again with a fresh version",
    "segment/writer.ts",
    "    this.etag = await store.writePages(blob, commit.writePosition, commit.bytes, this.etag, fence);",
    `    this.etag = await store.writePages(blob, commit.writePosition, commit.bytes, this.etag, fence).catch(async () => {
      const { etag } = (await store.properties(blob))!;
      return store.writePages(blob, commit.writePosition, commit.bytes, etag, fence);
    });`,
  ),
  defect(
    "what is torn behind the end is not cleared",
    "stream/open-log.ts",
    "  if (recovered.dirty) {",
    "  if (recovered.dirty && recovered.endPosition < 0) {",
  ),
  {
    name: "the next segment is created before the seal",
    edits: [
      {
        file: "stream/stream-log.ts",
        find: "    const last = await this.seal(false);\n    const created = await createNextSegment(this.engine, this.fence, this.prefix, this.next, settings);",
        replace:
          "    const created = await createNextSegment(this.engine, this.fence, this.prefix, this.next, settings);\n    const last = await this.seal(false);",
      },
    ],
  },
  defect(
    "no claim between breaking the lease and taking it",
    "leader/stand.ts",
    "  const claimed = await claimEpoch(store, clock, found, self, claim);\n  if (claimed === undefined) return undefined;",
    "  const claimed = { ...found, epoch: found.epoch + 1, claimant: self };\n  void claim;",
  ),
  defect(
    "a claim takes the epoch that is there",
    "leader/control.ts",
    "    epoch: Math.max(found.epoch, above) + 1,",
    "    epoch: Math.max(found.epoch, above, 1),",
  ),
  defect(
    "a stream is deleted without the fence and the seal",
    "stream/vault.ts",
    "      await sealForEver(stream);\n",
    "      void sealForEver;\n",
  ),
  defect(
    "a refusal is answered before what it was judged against is durable",
    "stream/group-commit.ts",
    "      if (group.commit !== undefined) await this.write(log, group, group.commit);",
    '      for (const { pending, judgement } of group.members) if (judgement.kind === "refused") pending.reject(judgement.error);\n      if (group.commit !== undefined) await this.write(log, group, group.commit);',
  ),
  defect("deduplication is not persisted", "segment/recovery.ts", "  found.producers.recordFrame(frame);\n", ""),
  defect(
    "an unknown outcome counts as stored",
    "stream/group-commit.ts",
    '      const stored = judgement.kind === "accepted" && judgement.result.nextOffset <= reopened.nextOffset;',
    '      const stored = judgement.kind === "accepted";',
  ),
  defect(
    "an unknown outcome counts as not stored",
    "stream/group-commit.ts",
    '      const stored = judgement.kind === "accepted" && judgement.result.nextOffset <= reopened.nextOffset;',
    "      const stored = false;",
  ),
  defect(
    "expected offsets are judged against what is acknowledged, not against what is before them in the commit",
    "stream/judge.ts",
    "  if (expectedOffset !== undefined && expectedOffset !== nextOffset) {",
    "  if (expectedOffset !== undefined && expectedOffset !== log.nextOffset) {",
  ),
  defect(
    "the tail's frames are cut off by one",
    "stream/tail-cache.ts",
    "    value: frames.slice(frames.findIndex((frame) => frame.nextOffset > offset)),",
    "    value: frames.slice(Math.min(frames.length - 1, frames.findIndex((frame) => frame.nextOffset > offset) + 1)),",
  ),
  defect(
    "a filter skips the seam between storage and tail",
    "stream/subscription.ts",
    "  if (more && heartbeat) await clock.turn();",
    "  if (more && heartbeat) {\n    await clock.turn();\n    progress.offset = view.nextOffset;\n  }",
  ),
  defect(
    "a subscription's status names what was read, not what was sent",
    "rpc/vault-service.ts",
    "      nextOffset = delivery.nextOffset;",
    "      nextOffset = delivery.tailOffset;",
  ),
  defect(
    "a subscription ends where the node's role changes",
    "stream/subscription.ts",
    "        if (next === undefined) return;",
    "        if (next !== undefined) source.giveBack(next);\n        return;",
  ),
  defect(
    "segments are deleted before the start has moved in the metadata",
    "stream/vault.ts",
    `    await stream.changeMetadata((metadata) => withStart(metadata, offset));
    await removeTrimmed(this.engine, stream);`,
    `    await removeTrimmed(this.engine, new Proxy(stream, {
      get: (target, name) => {
        if (name === "startOffset") return offset;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    }));
    await stream.changeMetadata((metadata) => withStart(metadata, offset));`,
  ),
  defect(
    "a call that was passed on is passed on again",
    "rpc/forwarding.ts",
    `  const { cluster, pending } = forwarder;
  if (context.metadata.get(forwardedByKey) !== undefined) {`,
    `  const { cluster, pending } = forwarder;
  if (context.metadata.get(forwardedByKey) === "nobody") {`,
  ),
  defect(
    "a leader trusts its memory for the tail",
    "stream/stream.ts",
    "    return this.tailChecks.ask();",
    "    return this.tailChecks === undefined ? Promise.reject(new Error()) : Promise.resolve();",
  ),
  defect(
    "timestamps follow the clock wherever it goes",
    "stream/stream-log.ts",
    "Math.max(this.engine.clock.now(), last, provenAt)",
    "Math.min(last, provenAt) * 0 + this.engine.clock.now()",
  ),
  defect(
    "a record may have a time from before its leader was proven to lead",
    "stream/stream-log.ts",
    "Math.max(this.engine.clock.now(), last, provenAt)",
    "Math.max(this.engine.clock.now(), last, provenAt * 0)",
  ),
  defect(
    "the budget of pending bytes is not given back after a failure",
    "stream/group-commit.ts",
    "    for (const pending of failed) {\n      this.target.pending.giveBack(pending.command.batch.storedBytes);",
    "    for (const pending of failed) {",
  ),
  defect(
    "the lease is not given back",
    "leader/stand.ts",
    "    await lease.release();",
    "    await Promise.resolve(lease);",
  ),
  defect(
    "a watch's timer is left behind when the watch ends",
    "rpc/peer-watch.ts",
    "    ticking?.cancel();\n    following.ended.abort();",
    "    following.ended.abort();",
  ),
  defect(
    "frames are taken whatever their checksum says",
    "segment/format.ts",
    "  if (bytes.readUInt32LE(at + 4) !== checksum) return undefined;",
    "  if (checksum < 0) return undefined;",
  ),
  defect(
    "a refusal rests on what a deposed leader remembers",
    "stream/group-commit.ts",
    "await this.confirm(log);",
    "void this.confirm;",
  ),
  defect(
    "a standby answers for the tail from what it has seen",
    "stream/followed-stream.ts",
    "    this.wholeWanted = true;\n    await this.reads.ask();",
    "    this.wholeWanted = true;",
  ),
  defect(
    "a commit that was built ahead has not what stands before it in its first page",
    "segment/writer.ts",
    "after === undefined ? this.tailPage : tailOf(after)",
    "after === undefined ? this.tailPage : Buffer.alloc(tailOf(after).length)",
  ),
  {
    name: "no check after the create",
    edits: [
      {
        file: "stream/stream-log.ts",
        find: "    await checkStillSealed(this.engine, sealed, created);\n",
        replace: "",
      },
      {
        file: "stream/open-log.ts",
        find: "    if (sealed !== undefined) await checkStillSealed(engine, sealed, created);\n    else if",
        replace:
          "    if (sealed === undefined && created.firstOffset < 0n) await checkStillSealed(engine, sealed!, created);\n    else if",
      },
    ],
  },
  defect(
    "the index is trusted for the end",
    "segment/recovery.ts",
    "    for await (const frame of scanFrames(source, state)) note(found, frame, damages.length > 0);\n",
    "    if (trusted === undefined)\n      for await (const frame of scanFrames(source, state)) note(found, frame, damages.length > 0);\n",
  ),
  {
    name: "a stream that is being closed is opened again",
    edits: [
      { file: "stream/open-streams.ts", find: "    await this.closings.get(name);\n", replace: "" },
      {
        file: "stream/stream.ts",
        find: "return this.users > 0 || this.committer.busy;",
        replace: "return this.committer.busy;",
      },
    ],
  },
  defect(
    "a stream is made by one request",
    "stream/metadata.ts",
    `      const reserved = stored?.etag ?? (await store.put(blob, reservation, { ifNoneMatch: "*" }));
      const etag = await store.put(blob, encode(metadata, revision), { ifMatch: reserved });`,
    `      const etag = await store.put(blob, encode(metadata, revision), { ifNoneMatch: "*" });`,
  ),
  {
    name: "a node that leads again does not read the end again",
    edits: [
      {
        file: "stream/vault.ts",
        find: "    this.streams.abandon();\n",
        replace: "",
      },
      {
        file: "stream/stream.ts",
        find: "    const log = await openLog(this.engine, this.name, this.current).catch((error: unknown) => {",
        replace: `    const known = this.view;
    if (known !== undefined && this.writable) {
      const fence = this.engine.leadership.fence();
      const { blob } = known.openSegment;
      const { store } = this.engine;
      const found = await store.properties(blob);
      if (found !== undefined) {
        const { etag } = await store.raiseFence(blob, found.etag, fence);
        Object.assign(known, { fence });
        Object.assign(known.writer, { etag, identity: { ...known.writer.identity, fence } });
        return known;
      }
    }
    const log = await openLog(this.engine, this.name, this.current).catch((error: unknown) => {`,
      },
    ],
  },
];
