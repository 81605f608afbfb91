/** The OpenTelemetry Collector's OTLP receiver in a process of its own, and the traces that it has. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { provideOtlpReceiver } from "../../scripts/interop-parts.ts";
import type { Scope } from "./create-scope.ts";

/** A span as it was received. */
export interface ReceivedSpan {
  readonly service: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly attributes: Readonly<Record<string, string | undefined>>;
}

/** A receiver that runs. */
export interface OtlpReceiver {
  /** Where it takes OTLP over gRPC, and over HTTP: URLs. */
  readonly grpc: string;
  readonly http: string;
  /** All spans that came so far. */
  spans(): Promise<ReceivedSpan[]>;
}

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: string };
}

type SpanInJson = Omit<ReceivedSpan, "service" | "attributes" | "links"> & {
  readonly attributes?: readonly Attribute[];
  readonly links?: ReceivedSpan["links"];
};

/** OTLP's JSON, as far as the tests read it. */
interface TracesInJson {
  readonly resourceSpans?: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly SpanInJson[] }[];
  }[];
}

/** Starts a receiver that ends with `scope`. */
export async function startOtlpReceiver(scope: Pick<Scope, "teardown">): Promise<OtlpReceiver> {
  // It ends when its standard input does.
  const child = spawn(await provideOtlpReceiver(), { stdio: ["pipe", "pipe", "inherit"] });
  const exited = new Promise((resolve) => void child.once("exit", resolve));
  scope.teardown(async () => {
    child.stdin.end();
    await exited;
  });
  const line = await Promise.race([
    new Promise<string>((resolve) => void createInterface(child.stdout).once("line", resolve)),
    exited.then((code) => Promise.reject(new Error(`the OTLP receiver ended with ${String(code)}`))),
  ]);
  const { grpc, http, query } = JSON.parse(line) as { grpc: string; http: string; query: string };
  return {
    grpc: `http://${grpc}`,
    http: `http://${http}`,
    async spans() {
      const response = await fetch(`http://${query}`);
      return toSpans((await response.json()) as TracesInJson);
    },
  };
}

function toSpans({ resourceSpans = [] }: TracesInJson): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = toAttributes(resource.attributes)["service.name"] ?? "";
    return scopeSpans.flatMap(({ spans }) =>
      spans.map(({ attributes = [], links = [], parentSpanId, ...span }) => ({
        ...span,
        service,
        parentSpanId: parentSpanId === "" ? undefined : parentSpanId,
        links,
        attributes: toAttributes(attributes),
      })),
    );
  });
}

function toAttributes(attributes: readonly Attribute[]): Record<string, string | undefined> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]));
}
