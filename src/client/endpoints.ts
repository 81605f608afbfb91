/**
 * The vault's addresses, and which one is in use.
 *
 * Invariants: there is at most one channel an address, and at most one address beside those that were given (the leader,
 * where the vault named it); calls go to one address until a call to it fails.
 */
import { credentials, Client } from "@grpc/grpc-js";
import type { ChannelCredentials, ChannelOptions } from "@grpc/grpc-js";
import { VaultError } from "../errors.ts";

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
  /** The address that calls go to now. Throws `unavailable` once closed. */
  pick(): Endpoint;
  /** Says that a call to `endpoint` failed: calls go to `leader` from now on, or to the next address. */
  moveOn(endpoint: Endpoint, leader: string | undefined): void;
  close(): void;
}

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
export function createEndpoints(addresses: readonly string[], tls: TlsOptions | undefined): Endpoints {
  const first = addresses[0];
  if (first === undefined) throw new VaultError("invalid", "give at least one address, such as 127.0.0.1:50051");
  const channels = new Map<string, Client>();
  let index = 0;
  let leader: string | undefined;
  let closed = false;

  function open(address: string): Endpoint {
    const channel = channels.get(address) ?? new Client(address, createCredentials(tls), channelOptions);
    channels.set(address, channel);
    return { address, channel };
  }

  function follow(next: string | undefined): void {
    if (leader !== undefined && leader !== next && !addresses.includes(leader)) {
      channels.get(leader)?.close();
      channels.delete(leader);
    }
    leader = next;
  }

  return {
    addressCount: addresses.length,
    pick() {
      if (closed) throw new VaultError("unavailable", "this client is closed");
      return open(leader ?? addresses[index] ?? first);
    },
    moveOn(endpoint, named) {
      // Several calls fail together when a connection breaks: only the first of them moves on.
      if (endpoint.address !== (leader ?? addresses[index])) return;
      if (leader === undefined) index = (index + 1) % addresses.length;
      follow(named === endpoint.address ? undefined : named);
    },
    close() {
      closed = true;
      for (const channel of channels.values()) channel.close();
      channels.clear();
    },
  };
}

function createCredentials(tls: TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(
    toBuffer(tls.rootCertificates),
    toBuffer(tls.privateKey),
    toBuffer(tls.certificateChain),
  );
}

function toBuffer(bytes: Uint8Array | undefined): Buffer | null {
  return bytes === undefined ? null : Buffer.from(bytes);
}
