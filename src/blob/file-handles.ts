/**
 * Open files of page blobs, the most recently used ones kept open.
 *
 * Invariants:
 * - A file is closed only when nobody uses it, so no descriptor is ever used after it was given to another file.
 * - At most `limit` files are open that nobody uses.
 * - A dropped file is never handed out again: who comes next opens the path anew.
 */
import type { FileSystem, OpenFile } from "./file-system.ts";

/** A cache of open files. */
export interface FileHandles {
  /** Runs `run` on the open file. What opening throws has the Node error as it is. */
  use<T>(path: string, run: (file: OpenFile) => Promise<T>): Promise<T>;
  /** Forgets the file; it is closed as soon as nobody uses it. */
  drop(path: string): void;
  /** Closes everything that nobody uses. */
  close(): Promise<void>;
}

interface Handle {
  readonly file: Promise<OpenFile>;
  users: number;
  dropped: boolean;
}

/** Makes a cache that keeps up to `limit` files open. */
export function createFileHandles(fileSystem: FileSystem, limit: number): FileHandles {
  const handles = new Map<string, Handle>();
  const closing = new Set<Promise<void>>();

  function closeHandle(handle: Handle): void {
    handle.dropped = true;
    // A failed close loses nothing: what counts was synced, and the descriptor is gone either way.
    const closed = handle.file.then((file) => file.close()).catch(() => {});
    closing.add(closed);
    void closed.then(() => closing.delete(closed));
  }

  function drop(path: string): void {
    const handle = handles.get(path);
    if (handle === undefined) return;
    handles.delete(path);
    handle.dropped = true;
    if (handle.users === 0) closeHandle(handle);
  }

  function evict(): void {
    if (handles.size <= limit) return;
    for (const [path, handle] of handles) {
      if (handle.users > 0) continue;
      drop(path);
      if (handles.size <= limit) return;
    }
  }

  return {
    async use(path, run) {
      const handle = handles.get(path) ?? { file: fileSystem.open(path, "existing"), users: 0, dropped: false };
      handle.users += 1;
      handles.delete(path);
      handles.set(path, handle);
      evict();
      let opened = false;
      try {
        const file = await handle.file;
        opened = true;
        return await run(file);
      } finally {
        handle.users -= 1;
        if (!opened && handles.get(path) === handle) handles.delete(path);
        if (handle.users === 0 && handle.dropped && opened) closeHandle(handle);
      }
    },
    drop,
    async close() {
      for (const path of handles.keys()) drop(path);
      await Promise.all(closing);
    },
  };
}
