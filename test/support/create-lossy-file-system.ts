/**
 * A file system that loses with the power what was not synced.
 *
 * Real files show what the cache would show. Beside them is kept what the disk surely holds: for each 512-byte sector
 * that was written since its file's last datasync what stood there before, and for each name that changed since its
 * directory's last sync what it named before. A crash goes back to that at random: sector by sector, size by size, name
 * by name. A file lives on in `attic` by a second link, so that a deleted or replaced one can come back.
 */
import { existsSync } from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import type { ExecutionContext } from "ava";
import type { FileSystem, OpenFile } from "../../src/blob/file-system.ts";
import { nodeFileSystem } from "../../src/blob/file-system.ts";
import { createDirectory } from "./create-directory.ts";
import { createRandom } from "./create-clock.ts";

const sectorBytes = 512;

/** What one process sees of the file system. */
export interface Mount {
  readonly fileSystem: FileSystem;
  /** The process is gone: its operations fail from now on. What they did stays in the cache. */
  cut(): void;
  /** Cuts at that operation from now on, which takes effect in the cache and then fails. */
  cutAfter(operations: number): void;
}

/** A file system for a test; it is deleted when the test ends. */
export interface LossyFileSystem {
  /** The one directory that it holds. */
  readonly directory: string;
  /** Begins a process. */
  mount(): Mount;
  /** The power fails: every mount is cut, and what was not synced is dropped or not, as the seed will have it. */
  crash(seed: number): Promise<void>;
}

interface FileNode {
  /** The file's link in the attic. */
  readonly attic: string;
  durableSizeBytes: number;
  sizeBytes: number;
  /** By index: what the disk holds of sectors that were written since the last datasync. */
  readonly sectors: Map<number, Buffer>;
}

/** What a name surely names on disk, since its directory's last sync. */
type Durable = FileNode | "directory" | "nothing";

interface ChangedName {
  readonly durable: Durable;
  /** The number of the latest change. */
  changedAt: number;
}

interface Disk {
  readonly attic: string;
  readonly files: Map<string, FileNode>;
  readonly changedNames: Map<string, Map<string, ChangedName>>;
  /** The operations that are under way. */
  readonly running: Set<Promise<unknown>>;
  nodeCount: number;
  changeCount: number;
}

/** Makes an empty file system. */
export async function createLossyFileSystem(t: ExecutionContext): Promise<LossyFileSystem> {
  const base = await createDirectory(t);
  const directory = path.join(base, "data");
  const attic = path.join(base, "attic");
  await fs.mkdir(directory);
  await fs.mkdir(attic);
  const disk: Disk = {
    attic,
    files: new Map(),
    changedNames: new Map(),
    running: new Set(),
    nodeCount: 0,
    changeCount: 0,
  };
  const mounts = new Set<Mount>();
  return {
    directory,
    mount() {
      const mount = createMount(disk);
      mounts.add(mount);
      return mount;
    },
    async crash(seed) {
      for (const mount of mounts) mount.cut();
      mounts.clear();
      await Promise.allSettled(disk.running);
      const random = createRandom(seed);
      await dropNames(disk, random);
      await dropSectors(disk, random);
      disk.files.clear();
      disk.changedNames.clear();
      for (const name of await fs.readdir(attic)) await fs.unlink(path.join(attic, name));
    },
  };
}

function createMount(disk: Disk): Mount {
  let left = Number.POSITIVE_INFINITY;

  /** Runs an operation; `sync` is what it makes durable, which the operation at the cut does not. */
  async function run<T>(effect: () => Promise<T>, sync?: () => void): Promise<T> {
    if (left <= 0) throw powerless();
    left -= 1;
    const running = effect();
    disk.running.add(running);
    try {
      const result = await running;
      if (left <= 0) throw powerless();
      sync?.();
      return result;
    } finally {
      disk.running.delete(running);
    }
  }

  const fileSystem: FileSystem = {
    open: (filePath, mode) =>
      run(async () => {
        const file = await nodeFileSystem.open(filePath, mode);
        if (mode === "new") note(disk, filePath, "nothing");
        const node = mode === "new" ? await addNode(disk, filePath, 0) : await nodeAt(disk, filePath);
        return lossyFile(node, file, run);
      }),
    stat: (filePath) => run(() => nodeFileSystem.stat(filePath)),
    readdir: (directory) => run(() => nodeFileSystem.readdir(directory)),
    rename: (from, to) =>
      run(async () => {
        const node = await nodeAt(disk, from);
        const replaced = await nodeAt(disk, to).catch(() => undefined);
        await nodeFileSystem.rename(from, to);
        note(disk, from, node);
        note(disk, to, replaced ?? "nothing");
        disk.files.delete(from);
        disk.files.set(to, node);
      }),
    unlink: (filePath) =>
      run(async () => {
        const node = await nodeAt(disk, filePath);
        await nodeFileSystem.unlink(filePath);
        note(disk, filePath, node);
        disk.files.delete(filePath);
      }),
    mkdir: (directory) =>
      run(async () => {
        await nodeFileSystem.mkdir(directory);
        note(disk, directory, "nothing");
      }),
    rmdir: (directory) =>
      run(async () => {
        await nodeFileSystem.rmdir(directory);
        note(disk, directory, "directory");
      }),
    syncDirectory: async (directory) => {
      // What changes while the sync is under way is not covered by it.
      const { changeCount } = disk;
      await run(
        () => fs.access(directory),
        () => syncNames(disk, directory, changeCount),
      );
    },
  };
  return {
    fileSystem,
    cut: () => (left = 0),
    cutAfter: (operations) => (left = operations),
  };
}

function powerless(): Error {
  return Object.assign(new Error("EIO: the process is gone"), { code: "EIO" });
}

type Run = <T>(effect: () => Promise<T>, sync?: () => void) => Promise<T>;

function lossyFile(node: FileNode, file: OpenFile, run: Run): OpenFile {
  return {
    read: (buffer, position) => run(() => file.read(buffer, position)),
    write: (bytes, position) =>
      run(async () => {
        await keepSectors(node, file, position, position + bytes.length);
        const count = await file.write(bytes, position);
        node.sizeBytes = Math.max(node.sizeBytes, position + count);
        return count;
      }),
    truncate: (sizeBytes) =>
      run(async () => {
        await keepSectors(node, file, sizeBytes, node.sizeBytes);
        await file.truncate(sizeBytes);
        node.sizeBytes = sizeBytes;
      }),
    // No real sync: the power of this machine stays on.
    datasync: () =>
      run(
        async () => {},
        () => {
          node.sectors.clear();
          node.durableSizeBytes = node.sizeBytes;
        },
      ),
    // A process that is gone has no open files.
    close: () => file.close(),
  };
}

/** Keeps what the disk holds of the sectors that a change is about to touch. */
async function keepSectors(node: FileNode, file: OpenFile, from: number, to: number): Promise<void> {
  for (let index = Math.floor(from / sectorBytes); index * sectorBytes < to; index += 1) {
    if (node.sectors.has(index)) continue;
    const sector = Buffer.alloc(sectorBytes);
    if (index * sectorBytes < node.durableSizeBytes) await file.read(sector, index * sectorBytes);
    node.sectors.set(index, sector);
  }
}

async function addNode(disk: Disk, filePath: string, sizeBytes: number): Promise<FileNode> {
  disk.nodeCount += 1;
  const attic = path.join(disk.attic, `${disk.nodeCount}`);
  const node = { attic, durableSizeBytes: sizeBytes, sizeBytes, sectors: new Map<number, Buffer>() };
  disk.files.set(filePath, node);
  await fs.link(filePath, attic);
  return node;
}

/** The file of this path; one that is not known yet was there before, and is taken for durable. */
async function nodeAt(disk: Disk, filePath: string): Promise<FileNode> {
  const known = disk.files.get(filePath);
  if (known !== undefined) return known;
  const { size } = await fs.stat(filePath);
  return disk.files.get(filePath) ?? addNode(disk, filePath, size);
}

function note(disk: Disk, changedPath: string, before: Durable): void {
  const directory = path.dirname(changedPath);
  const names = disk.changedNames.get(directory) ?? new Map<string, ChangedName>();
  disk.changedNames.set(directory, names);
  disk.changeCount += 1;
  // The first change since the last sync counts: the disk may still be before it.
  const { durable } = names.get(path.basename(changedPath)) ?? { durable: before };
  names.set(path.basename(changedPath), { durable, changedAt: disk.changeCount });
}

function syncNames(disk: Disk, directory: string, upTo: number): void {
  const names = disk.changedNames.get(directory);
  for (const [name, { durable, changedAt }] of names ?? []) {
    if (changedAt > upTo) continue;
    names?.delete(name);
    // Gone for good, and so is what was to be remembered of its inside.
    const inside = path.join(directory, name);
    if (durable === "directory" && !existsSync(inside)) disk.changedNames.delete(inside);
  }
}

async function dropNames(disk: Disk, random: () => number): Promise<void> {
  for (const directory of [...disk.changedNames.keys()].toSorted()) {
    const names = [...(disk.changedNames.get(directory) ?? [])].toSorted(([one], [other]) => (one < other ? -1 : 1));
    for (const [name, { durable }] of names) {
      if (random() < 0.5) continue;
      // With a directory that was dropped went all that was in it.
      if ((await nodeFileSystem.stat(directory)) === undefined) break;
      const target = path.join(directory, name);
      const found = await nodeFileSystem.stat(target);
      if (durable === "directory" && found?.directory === true) continue;
      await fs.rm(target, { recursive: true, force: true });
      if (durable === "directory") await fs.mkdir(target);
      else if (durable !== "nothing") await fs.link(durable.attic, target);
    }
  }
}

async function dropSectors(disk: Disk, random: () => number): Promise<void> {
  const nodes = new Set(disk.files.values());
  for (const names of disk.changedNames.values()) {
    for (const { durable } of names.values()) if (typeof durable === "object") nodes.add(durable);
  }
  for (const node of nodes) {
    if (node.sectors.size === 0 && node.sizeBytes === node.durableSizeBytes) continue;
    const file = await nodeFileSystem.open(node.attic, "existing");
    for (const [index, before] of node.sectors) {
      if (random() < 0.5) await file.write(before, index * sectorBytes);
    }
    await file.truncate(random() < 0.5 ? node.durableSizeBytes : node.sizeBytes);
    await file.close();
  }
}
