import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Defect } from "./defects.ts";
import { checkoutRoot } from "./source.ts";

/** A copy of the code, with a defect in it. */
export interface DefectiveCopy {
  readonly root: string;
  remove(): Promise<void>;
}

/** Makes a copy of `src/` with a defect. Throws where the code is not as the defect expects it. */
export async function createDefectiveCopy({ name, edits }: Defect): Promise<DefectiveCopy> {
  const root = await mkdtemp(join(tmpdir(), "message-vault-defect-"));
  const remove = () => rm(root, { recursive: true, force: true });
  try {
    await cp(join(checkoutRoot, "src"), join(root, "src"), { recursive: true });
    for (const shared of ["gen", "node_modules", "package.json", "tsconfig.json"]) {
      await symlink(join(checkoutRoot, shared), join(root, shared));
    }
    for (const { file, find, replace } of edits) {
      const path = join(root, "src", file);
      const text = await readFile(path, "utf8");
      const count = text.split(find).length - 1;
      if (count !== 1) throw new Error(`"${name}": what it replaces stands ${count} times in src/${file}:\n${find}`);
      await writeFile(
        path,
        text.replace(find, () => replace),
      );
    }
    return { root, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
