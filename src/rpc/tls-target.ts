import { isIP } from "node:net";
import { checkServerIdentity } from "node:tls";
import type { PeerCertificate } from "node:tls";

/** What grpc-js has to be told about the node at an address. */
export interface TlsTarget {
  /** For its channel. */
  readonly options: { readonly "grpc.ssl_target_name_override"?: string };
  /** For its credentials. */
  readonly verify: {
    readonly checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
  };
}

// No name of any host. [RFC 2606, section 2]
const noName = "address.invalid";

/**
 * How to speak TLS with `address` (host:port). grpc-js 1.14 sends the host as the server's name also where it is an IP
 * address, which TLS does not allow [RFC 6066, section 3] and Node 26 refuses. For these another name is sent, and the
 * certificate is checked against the address.
 */
export function toTlsTarget(address: string): TlsTarget {
  const host = address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  if (isIP(host) === 0) return { options: {}, verify: {} };
  return {
    options: { "grpc.ssl_target_name_override": noName },
    verify: { checkServerIdentity: (_host, certificate) => checkServerIdentity(host, certificate) },
  };
}
