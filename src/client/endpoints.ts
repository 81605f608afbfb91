/**
 * The vault's addresses, and which one is in use.
 *
 * Calls go to one of the given addresses until a call to it fails, then to the next. What the leader answers goes to the
 * leader itself, where the vault said who that is: any node would pass it on, but that costs a hop.
 *
 * Invariants: there is at most one channel an address, and at most one address beside those that were given: the
 * leader's. A leader that was only mentioned is used while its connection stands, as it may go by an address that
 * cannot be reached from here; one that failed is not used again for a while.
 */
import { credentials, Client, connectivityState } from "@grpc/grpc-js";
import type { ChannelOptions } from "@grpc/grpc-js";
import type { Clock } from "../clock.ts";
import { VaultError } from "../errors.ts";
import { toTlsTarget } from "../rpc/tls-target.ts";

/** How to reach a vault that speaks TLS. */
export interface TlsOptions {
  /** PEM certificates that the vault's is checked against; the system's where absent. */
  readonly rootCertificates?: Uint8Array;
  /** The client's own key and certificate chain in PEM, where the vault asks for them. */
  readonly privateKey?: Uint8Array;
  readonly certificateChain?: Uint8Array;
}

/** An address with its channel. */
export interface Endpoint {
  readonly address: string;
  readonly channel: Client;
}

/** The addresses of one vault. */
export interface Endpoints {
  /** How many addresses were given. */
  readonly addressCount: number;
  /** The address that reads go to now. Throws `unavailable` once closed. */
  pick(): Endpoint;
  /** The address that publishes and the like go to now: the leader's where it is known. Throws as `pick`. */
  pickLeader(): Endpoint;
  /** Whether `pickLeader` would give another address than this one. */
  isBehind(endpoint: Endpoint): boolean;
  /** An answer came from another node than was asked: this one, the leader. */
  mention(leader: string): void;
  /** A node says that this one leads: what needs the leader goes there at once. */
  lead(leader: string): void;
  /** A call to `endpoint` failed; `leader` is who the vault said can answer it. What comes next goes elsewhere. */
  moveOn(endpoint: Endpoint, leader: string | undefined): void;
  close(): void;
}

// A leader that a call to it failed is not gone to on a mere mention for so long.
const distrustMs = 30_000;

// Answers are below 4 MiB; a list of many thousand segments may be larger.
const messageBytesMax = 16 * 1024 * 1024;

// How much the vault may send ahead. Replay of large responses is half as fast with the default of 64 KiB.
const flowControlBytes = 8 * 1024 * 1024;

const channelOptions: ChannelOptions = {
  "grpc.max_receive_message_length": messageBytesMax,
  "grpc.max_send_message_length": messageBytesMax,
  "grpc-node.flow_control_window": flowControlBytes,
  // Off by default; without it, a connection that a firewall forgot looks like a quiet stream.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 0,
  // grpc-js would wait up to two minutes before it connects anew.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // Retries are ours: only we know which requests may be repeated. grpc-js would keep copies of messages for its own.
  "grpc.enable_retries": 0,
  // Two clients in one process do not share a connection.
  "grpc.use_local_subchannel_pool": 1,
};

/** Makes channels to `addresses` (`host:port` each) as they are needed. */
export function createEndpoints(
  addresses: readonly string[],
  tls: TlsOptions | undefined,
  clock: Pick<Clock, "monotonic">,
): Endpoints {
  const first = addresses[0];
  if (first === undefined) throw new VaultError("invalid", "give at least one address, such as 127.0.0.1:50051");
  const channels = new Map<string, Client>();
  let index = 0;
  // `named`: the vault refused a call and said to go there.
  let leader: { readonly address: string; readonly named: boolean } | undefined;
  let distrusted: { readonly address: string; readonly until: number } | undefined;
  let closed = false;

  const current = () => addresses[index] ?? first;

  function open(address: string): Endpoint {
    if (closed) throw new VaultError("unavailable", "this client is closed");
    const channel = channels.get(address) ?? createChannel(address, tls);
    channels.set(address, channel);
    return { address, channel };
  }

  function follow(next: typeof leader): void {
    if (leader !== undefined && leader.address !== next?.address && !addresses.includes(leader.address)) {
      channels.get(leader.address)?.close();
      channels.delete(leader.address);
    }
    leader = next;
  }

  function isConnected(address: string): boolean {
    return open(address).channel.getChannel().getConnectivityState(true) === connectivityState.READY;
  }

  function best(): string {
    const useLeader = leader !== undefined && !closed && (leader.named || isConnected(leader.address));
    return useLeader ? leader!.address : current();
  }

  return {
    addressCount: addresses.length,
    pick: () => open(current()),
    pickLeader: () => open(best()),
    isBehind: ({ address }) => !closed && best() !== address,
    mention(address) {
      if (closed || leader?.address === address) return;
      if (distrusted?.address === address && clock.monotonic() < distrusted.until) return;
      follow({ address, named: false });
      isConnected(address);
    },
    lead(address) {
      if (closed || (distrusted?.address === address && clock.monotonic() < distrusted.until)) return;
      follow({ address, named: true });
    },
    moveOn(endpoint, named) {
      const next = named === endpoint.address ? undefined : named;
      if (endpoint.address === leader?.address) {
        distrusted = { address: endpoint.address, until: clock.monotonic() + distrustMs };
        follow(undefined);
        if (endpoint.address === current()) index = (index + 1) % addresses.length;
      } else if (endpoint.address === current()) {
        // Several calls fail together when a connection breaks: only the first of them moves on.
        if (next === undefined) index = (index + 1) % addresses.length;
      } else {
        return;
      }
      if (next !== undefined) follow({ address: next, named: true });
    },
    close() {
      closed = true;
      for (const channel of channels.values()) channel.close();
      channels.clear();
    },
  };
}

function createChannel(address: string, tls: TlsOptions | undefined): Client {
  if (tls === undefined) return new Client(address, credentials.createInsecure(), channelOptions);
  const { rootCertificates, privateKey, certificateChain } = tls;
  const { options, verify } = toTlsTarget(address);
  const secure = credentials.createSsl(
    toBuffer(rootCertificates),
    toBuffer(privateKey),
    toBuffer(certificateChain),
    verify,
  );
  return new Client(address, secure, { ...channelOptions, ...options });
}

function toBuffer(bytes: Uint8Array | undefined): Buffer | null {
  return bytes === undefined ? null : Buffer.from(bytes);
}
