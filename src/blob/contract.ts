/**
 * What every BlobStore has in common, as data: checks that run on any of them. Tests run them on each implementation,
 * `check-storage.ts` on a user's own storage.
 */
import { blockChecks } from "./contract-blocks.ts";
import type { ContractCheck } from "./contract-check.ts";
import { controlChecks } from "./contract-control.ts";
import { fenceChecks } from "./contract-fence.ts";
import { pageChecks } from "./contract-pages.ts";

/** All checks. They are independent of each other. */
export const contract: readonly ContractCheck[] = [...pageChecks, ...fenceChecks, ...blockChecks, ...controlChecks];
