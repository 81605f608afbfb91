import type { BlobStore } from "../../src/blob/blob-store.ts";
import { systemClock } from "../../src/clock.ts";
import { readControl } from "../../src/leader/control.ts";
import { createFenceWitness } from "./create-fence-witness.ts";
import type { FenceWitness } from "./create-fence-witness.ts";
import { createNodeLink, watchOwnPorts } from "./create-node-link.ts";
import type { NodeLink } from "./create-node-link.ts";
import type { Scope } from "./create-scope.ts";
import { createStorageLink } from "./create-storage-link.ts";
import type { StorageLink } from "./create-storage-link.ts";
import { findFreePort } from "./find-free-port.ts";
import { azuriteSetting, openAzurite, startAzuriteProcess } from "./start-azurite-process.ts";
import type { AzuriteProcess } from "./start-azurite-process.ts";
import { startVaultProcess } from "./start-vault-process.ts";
import type { VaultProcess } from "./start-vault-process.ts";
import { waitUntil } from "./wait-until.ts";

/** A vault node: a process that comes back at the same address, with its networks. */
export interface ClusterNode {
  readonly name: string;
  /** Where clients reach it. */
  readonly endpoint: string;
  /** Between it and the nodes that want to reach it. Its endpoint is the address that it gives. */
  readonly peers: NodeLink;
  /** Between it and storage. */
  readonly storage: StorageLink;
  /** `host:port` of its process's HTTP port; undefined where it has none, or does not run. */
  readonly http: string | undefined;
  /** Whether its process is there, frozen or not. */
  readonly running: boolean;
  start(): Promise<void>;
  /** Ends the process; resolves when it is gone. */
  stop(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** What its process logged last, and those before it. */
  log(): string;
}

/** Who leads, as storage has it. */
export interface ClusterLeader {
  readonly node: ClusterNode;
  readonly epoch: number;
}

/** Several nodes on one Azurite. */
export interface NodeCluster {
  readonly nodes: readonly ClusterNode[];
  readonly azurite: AzuriteProcess;
  /** The nodes' storage, past their networks. */
  readonly store: BlobStore;
  readonly witness: FenceWitness;
  /** Where clients reach the nodes. */
  readonly addresses: readonly string[];
  /** Who holds the lease; undefined while nobody does. */
  findLeader(): Promise<ClusterLeader | undefined>;
  /** Waits until somebody holds the lease under an epoch above `epoch`. */
  waitForLeader(epoch?: number, limitMs?: number): Promise<ClusterLeader>;
}

/** What a cluster is made of. */
export interface ClusterOptions {
  readonly nodeCount: number;
  readonly random: () => number;
  /** Of a hundred writes so many are sent to storage once more, late. */
  readonly repeatPercent?: number;
  /** More arguments for every node. */
  readonly settings?: readonly string[];
}

// Small, so that there are many rolls, and so that the emulator stays quick.
const settingsDefault = ["--segment-bytes", "256KiB", "--log-level", "info"];
const logTextMax = 200_000;
const lookEveryMs = 50;

/** Starts an Azurite and the nodes, until `scope` ends. */
export async function createNodeCluster(scope: Scope, options: ClusterOptions): Promise<NodeCluster> {
  const { random } = options;
  const azurite = await startAzuriteProcess(scope);
  const witness = createFenceWitness();
  const clientPorts = watchOwnPorts(scope);
  const nodes: ClusterNode[] = [];
  for (let i = 0; i < options.nodeCount; i++) {
    const repeatPercent = options.repeatPercent ?? 1;
    const storage = await createStorageLink(scope, { target: azurite.endpoint, witness, random, repeatPercent });
    const [port, peerPort] = [await findFreePort(scope), await findFreePort(scope)];
    const peers = createNodeLink(scope, peerPort, port, clientPorts);
    nodes.push(createNode(scope, String.fromCharCode(97 + i), port, peers, storage, options.settings ?? []));
  }
  const store = await openAzurite(scope, azurite.endpoint);
  await Promise.all(nodes.map((node) => node.start()));
  const findLeader = () => lookForLeader(store, nodes);
  return {
    nodes,
    azurite,
    store,
    witness,
    addresses: nodes.map(({ endpoint }) => endpoint),
    findLeader,
    waitForLeader: (epoch = 0, limitMs = 40_000) => waitForLeader(findLeader, epoch, limitMs),
  };
}

function createNode(
  scope: Scope,
  name: string,
  port: number,
  peers: NodeLink,
  storage: StorageLink,
  settings: readonly string[],
): ClusterNode {
  const place = ["--storage", azuriteSetting(storage.endpoint), "--port", String(port)];
  const args = [...place, "--advertised-endpoint", peers.endpoint, ...settingsDefault, ...settings];
  let vault: VaultProcess | undefined;
  let earlierLog = "";
  return {
    name,
    endpoint: `127.0.0.1:${port}`,
    peers,
    storage,
    get http() {
      return vault?.http;
    },
    get running() {
      return vault !== undefined;
    },
    async start() {
      // Before it: it is reached as soon as it listens.
      await peers.set("open");
      storage.begin();
      vault = await startVaultProcess(scope, args);
    },
    async stop(signal) {
      const ended = vault;
      if (ended === undefined) throw new Error(`node ${name} does not run`);
      vault = undefined;
      const exited = ended.kill(signal);
      if (signal === "SIGKILL") await peers.set("down");
      await exited;
      await peers.set("down");
      earlierLog = `${earlierLog}${ended.log()}--- ${signal}\n`.slice(-logTextMax);
    },
    freeze: () => void vault?.child.kill("SIGSTOP"),
    thaw: () => void vault?.child.kill("SIGCONT"),
    log: () => earlierLog + (vault?.log() ?? ""),
  };
}

async function lookForLeader(store: BlobStore, nodes: readonly ClusterNode[]): Promise<ClusterLeader | undefined> {
  const control = await readControl(store, systemClock);
  const node = nodes.find(({ peers }) => peers.endpoint === control?.claimant?.endpoint);
  return control?.leased === true && node !== undefined ? { node, epoch: control.epoch } : undefined;
}

async function waitForLeader(
  look: () => Promise<ClusterLeader | undefined>,
  epoch: number,
  limitMs: number,
): Promise<ClusterLeader> {
  let found: ClusterLeader | undefined;
  let lookedAt = -Infinity;
  const isThere = () => {
    const now = systemClock.monotonic();
    if (now - lookedAt > lookEveryMs) {
      lookedAt = now;
      // While storage is away nobody is known to lead.
      look().then(
        (leader) => (found = leader),
        () => undefined,
      );
    }
    return found !== undefined && found.epoch > epoch;
  };
  await waitUntil(isThere, `a leader of an epoch above ${epoch}`, limitMs);
  return found!;
}
