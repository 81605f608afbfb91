/** Which container, by which credentials, over which connections. */
import http from "node:http";
import https from "node:https";
import { AnonymousCredential, ContainerClient, newPipeline } from "@azure/storage-blob";
import type { StoragePipelineOptions } from "@azure/storage-blob";
import { VaultError } from "../errors.ts";
import { withoutSecrets } from "./azure-errors.ts";

/**
 * A container: by a connection string of its account and its name, or by its URL. A URL with a SAS is used as it is; one
 * without takes the identity that DefaultAzureCredential finds.
 */
export type AzureTarget = { readonly connectionString: string; readonly container: string } | { readonly url: string };

/** Clients of one container. */
export interface AzureContainer {
  /** For segments and metadata. */
  readonly data: ContainerClient;
  /** For properties: over connections of its own, so that they do not wait behind a queue of writes. */
  readonly probes: ContainerClient;
  /** For the control blob's lease and metadata: over connections of its own, so that no queue costs the lease. */
  readonly control: ContainerClient;
  /** Whether it is an emulator's, which has none of Azure's limits. */
  readonly emulated: boolean;
  /** The container's URL without a SAS. */
  readonly url: string;
  /** Closes the connections. */
  close(): void;
}

const probeSocketsMax = 16;
const controlSocketsMax = 8;

/** When an idle connection is closed: sooner than Azure or a firewall forgets it, which a write would end on. */
const idleSocketMs = 30_000;

type AgentOptions = StoragePipelineOptions & { agent: http.Agent };

/** Makes the clients; sends nothing. Throws `invalid` for what is no target. `socketsMax` bounds the connections. */
export async function connectContainer(target: AzureTarget, socketsMax: number): Promise<AzureContainer> {
  const agents: http.Agent[] = [];
  const secure = isSecure("url" in target ? target.url : target.connectionString);
  function options(maxSockets: number): AgentOptions {
    const settings = { keepAlive: true, maxSockets, maxFreeSockets: maxSockets, timeout: idleSocketMs };
    const agent = secure ? new https.Agent(settings) : new http.Agent(settings);
    agents.push(agent);
    // An attempt may be carried out after its retry (docs/format.md): what is sent again is decided above.
    return { agent, retryOptions: { maxTries: 1 } };
  }
  try {
    const connect = "url" in target ? await connectorOf(target.url) : connectorOfString(target);
    const data = connect(options(socketsMax));
    const probes = connect(options(probeSocketsMax));
    const control = connect(options(controlSocketsMax));
    const url = data.url.split("?", 1)[0] ?? data.url;
    return { data, probes, control, emulated: !secure, url, close: () => agents.forEach((agent) => agent.destroy()) };
  } catch (error) {
    if (error instanceof VaultError) throw error;
    const reason = withoutSecrets(error instanceof Error ? error.message : String(error));
    throw new VaultError("invalid", `not an Azure container or connection string: ${reason}`);
  }
}

/** Emulators speak plain HTTP, real accounts do not. */
function isSecure(target: string): boolean {
  return !/^http:|(^|;)\s*(\w+\s*=\s*http:|UseDevelopmentStorage\s*=\s*true)/i.test(target);
}

type Connect = (options: AgentOptions) => ContainerClient;

function connectorOfString(target: { connectionString: string; container: string }): Connect {
  return (options) => new ContainerClient(target.connectionString, target.container, options);
}

async function connectorOf(url: string): Promise<Connect> {
  const { searchParams } = new URL(url);
  if (searchParams.has("sig")) {
    return (options) => new ContainerClient(url, newPipeline(new AnonymousCredential(), options));
  }
  // Loading it takes a quarter of a second: only where it is needed.
  const { DefaultAzureCredential } = await import("@azure/identity");
  const credential = new DefaultAzureCredential();
  return (options) => new ContainerClient(url, newPipeline(credential, options));
}
