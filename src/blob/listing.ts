/** A page of a listing of what is in memory; `next` is what to ask for next. */
export interface NamesPage {
  readonly items: string[];
  readonly next: string | undefined;
}

/** The names from `sorted` that begin with `prefix`, at most `limit`, beginning with `from` where it is given. */
export function pageOfNames(sorted: readonly string[], prefix: string, limit: number, from?: string): NamesPage {
  const start = lowerBound(sorted, from !== undefined && from > prefix ? from : prefix);
  const items: string[] = [];
  for (let index = start; index < sorted.length; index += 1) {
    const name = nameAt(sorted, index);
    if (!name.startsWith(prefix)) break;
    if (items.length === limit) return { items, next: name };
    items.push(name);
  }
  return { items, next: undefined };
}

/** The folders (see BlobStore.listFolders) in `sorted`, at most `limit`, beginning with `from` where it is given. */
export function pageOfFolders(sorted: readonly string[], prefix: string, limit: number, from?: string): NamesPage {
  let index = lowerBound(sorted, from !== undefined && from > prefix ? from : prefix);
  const items: string[] = [];
  while (index < sorted.length) {
    const name = nameAt(sorted, index);
    if (!name.startsWith(prefix)) break;
    const slash = name.indexOf("/", prefix.length);
    if (slash === -1) {
      index += 1;
      continue;
    }
    const folder = name.slice(0, slash);
    if (items.length === limit) return { items, next: `${folder}/` };
    items.push(folder);
    // `0` is the character after `/`: the first name that is not in this folder.
    index = lowerBound(sorted, `${folder}0`);
  }
  return { items, next: undefined };
}

/** The index of the first name that is not before `name`. */
function lowerBound(sorted: readonly string[], name: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (nameAt(sorted, middle) < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

function nameAt(sorted: readonly string[], index: number): string {
  return sorted[index] ?? "";
}
