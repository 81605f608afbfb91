/** What is no gRPC at all: bytes on the port, and HTTP/2 that breaks gRPC's rules. Others are served meanwhile. */
import http2 from "node:http2";
import net from "node:net";
import test from "ava";
import type { ExecutionContext } from "ava";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import { encode } from "../support/call-vault.ts";
import { createClient } from "../support/create-client.ts";
import { createRandom } from "../support/create-clock.ts";
import { randomBytes } from "../support/mutate-bytes.ts";
import { findGap, readStream } from "../support/read-stream.ts";
import type { VaultProcess } from "../support/start-vault-process.ts";
import { startVaultProcess } from "../support/start-vault-process.ts";

const publish = VaultService.method.publish;
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const answerMsMax = 15_000;

/** An HTTP/2 frame: length, type, flags, stream, payload. [RFC 9113, section 4.1] */
function frame(type: number, flags: number, stream: number, payload: Buffer, lengthBytes = payload.length): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(lengthBytes, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const settings = frame(4, 0, 0, Buffer.alloc(0));

/** What is written to the port as it is. Where it ends, so does the connection's writing side. */
function garbage(random: () => number): Buffer[] {
  const noise = (count: number) => randomBytes(count, random);
  return [
    Buffer.from("GET / HTTP/1.1\r\nHost: vault\r\n\r\n"),
    Buffer.from("POST /messagevault.v1.VaultService/Publish HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
    Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc]), // the beginning of TLS
    preface,
    preface.subarray(0, 10),
    Buffer.concat([preface, noise(2000)]),
    Buffer.concat([preface, settings, frame(0, 0, 1, noise(100))]), // data on a stream that is not open
    Buffer.concat([preface, settings, frame(1, 5, 1, noise(60))]), // headers that are no HPACK
    Buffer.concat([preface, settings, frame(1, 5, 2, Buffer.from([0x82]))]), // a stream of the server's
    Buffer.concat([preface, settings, frame(0, 0, 1, Buffer.alloc(10), 0xffffff)]),
    Buffer.concat([preface, settings, frame(8, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff]))]), // a window too large
    Buffer.concat([preface, settings, frame(9, 4, 1, noise(30))]), // continuation of nothing
    Buffer.concat([preface, settings, ...Array.from({ length: 500 }, () => frame(6, 0, 0, Buffer.alloc(8)))]), // pings
    ...Array.from({ length: 40 }, () => noise(1 + Math.floor(random() * 5000))),
    ...Array.from({ length: 40 }, () =>
      Buffer.concat([preface, settings, frame(Math.floor(random() * 11), 5, 1, noise(50))]),
    ),
  ];
}

/** Writes bytes and waits until the vault has closed the connection. */
function writeRaw(endpoint: string, bytes: Buffer): Promise<void> {
  const [host, port] = endpoint.split(":");
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), host);
    const timer = setTimeout(
      () => reject(new Error(`still open: ${bytes.subarray(0, 80).toString("hex")}`)),
      answerMsMax,
    );
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve();
    });
    socket.resume();
    socket.end(bytes);
  });
}

/** A gRPC message: whether it is compressed, its length, its bytes. */
function message(bytes: Uint8Array, lengthBytes = bytes.length, compressed = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = compressed;
  head.writeUInt32BE(lengthBytes, 1);
  return Buffer.concat([head, bytes]);
}

const grpcHeaders = {
  ":method": "POST",
  ":path": methodPath(publish),
  "content-type": "application/grpc",
  te: "trailers",
};

/** Requests over HTTP/2 that break the rules of gRPC. */
function brokenRequests(): {
  readonly name: string;
  readonly headers: http2.OutgoingHttpHeaders;
  readonly body: Buffer;
}[] {
  const good = encode(publish.input, { stream: "good", records: [{ value: Buffer.from("x") }] });
  const broken = (name: string, headers: http2.OutgoingHttpHeaders, body: Buffer) => {
    return { name, headers: { ...grpcHeaders, ...headers }, body };
  };
  return [
    broken("no such method", { ":path": "/messagevault.v1.VaultService/Explode" }, message(good)),
    broken("no such service", { ":path": "/nothing/here" }, message(good)),
    broken("a path of odd bytes", { ":path": "/%00/../.." }, message(good)),
    broken("another content type", { "content-type": "text/plain" }, message(good)),
    broken("no body", {}, Buffer.alloc(0)),
    broken("half a head", {}, Buffer.from([0, 0, 0])),
    broken("a length beyond the end", {}, message(good, 100_000)),
    broken("an absurd length", {}, message(good, 0xffffffff)),
    broken("a length over the limit", {}, message(good, 9 * 1024 * 1024)),
    broken("compressed without saying how", {}, message(good, good.length, 1)),
    broken("compressed by what nobody knows", { "grpc-encoding": "brotli" }, message(good, good.length, 1)),
    broken("compressed, but not what it says", { "grpc-encoding": "gzip" }, message(good, good.length, 1)),
    broken("two messages of one", {}, Buffer.concat([message(good), message(good)])),
    broken("a flag that is not known", {}, message(good, good.length, 7)),
    broken("a deadline that makes no sense", { "grpc-timeout": "soon" }, message(good)),
    broken("a deadline that has passed", { "grpc-timeout": "0m" }, message(good)),
    broken("metadata that is no base64", { "odd-bin": "%%%" }, message(good)),
  ];
}

/** Sends a request; resolves to its gRPC or HTTP status, or how it was cut off. */
function request(session: http2.ClientHttp2Session, headers: http2.OutgoingHttpHeaders, body: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = session.request(headers);
    const timer = setTimeout(() => reject(new Error("no answer")), answerMsMax);
    let status = "nothing";
    const note = (answered: http2.IncomingHttpHeaders) => {
      status = String(answered["grpc-status"] ?? `http ${String(answered[":status"])}`);
    };
    call.on("response", note);
    call.on("trailers", note);
    call.on("error", (error) => (status = error.message));
    call.on("close", () => {
      clearTimeout(timer);
      resolve(status);
    });
    call.resume();
    call.end(body);
  });
}

async function checkAlive(t: ExecutionContext, vault: VaultProcess): Promise<void> {
  t.is(vault.child.exitCode, null, vault.log());
  t.notRegex(vault.log(), /call failed|unhandled/i);
  const client = createClient(t, vault);
  await client.publish("good", [{ value: "still here" }]);
  t.is(findGap(await readStream(client, "good")), undefined);
}

test("bad connections - bytes that are no HTTP/2 end their connection, and nothing else", async (t) => {
  t.timeout(60_000);
  const seed = 3;
  t.log(`seed ${seed}`);
  const vault = await startVaultProcess(t, ["--storage", "memory:", "--log-level", "warn"]);
  const client = createClient(t, vault);
  const publisher = client.publisher("other");
  await publisher.publish([{ value: "before" }]);
  const idle = net.connect(Number(vault.endpoint.split(":")[1]), "127.0.0.1");
  t.teardown(() => idle.destroy());
  for (const bytes of garbage(createRandom(seed))) {
    await writeRaw(vault.endpoint, bytes);
    await publisher.publish([{ value: "meanwhile" }]);
  }
  t.is(publisher.acknowledged.duplicateCount, 0, "the good connection was never interrupted");
  await checkAlive(t, vault);
});

test("bad connections - requests that break gRPC's rules get an answer each", async (t) => {
  t.timeout(60_000);
  const vault = await startVaultProcess(t, ["--storage", "memory:", "--log-level", "warn"]);
  const session = http2.connect(`http://${vault.endpoint}`);
  t.teardown(() => session.destroy());
  session.on("error", () => undefined);
  const answers: string[] = [];
  for (const { name, headers, body } of brokenRequests()) {
    const status = await request(session, headers, body).catch((error: unknown) => (error as Error).message);
    t.not(status, "no answer", name);
    t.not(status, "nothing", name);
    answers.push(`${name}: ${status}`);
  }
  t.log(answers.join("\n"));
  // One that is good, on the same connection: each of the bad ones ended by itself.
  const good = encode(publish.input, { stream: "good", records: [{ value: Buffer.from("x") }] });
  t.is(await request(session, grpcHeaders, message(good)), "0");
  await checkAlive(t, vault);
});

test("bad connections - a request that is broken off in the middle stores nothing", async (t) => {
  const vault = await startVaultProcess(t, ["--storage", "memory:", "--log-level", "warn"]);
  const good = encode(publish.input, { stream: "good", records: [{ value: Buffer.alloc(50_000, 1) }] });
  const bytes = message(good);
  for (let cut = 1; cut < bytes.length; cut += 4999) {
    const session = http2.connect(`http://${vault.endpoint}`);
    session.on("error", () => undefined);
    const call = session.request(grpcHeaders);
    call.on("error", () => undefined);
    await new Promise((resolve) => void call.write(bytes.subarray(0, cut), resolve));
    const closed = new Promise((resolve) => void session.once("close", resolve));
    if (cut % 2 === 0) call.close(http2.constants.NGHTTP2_CANCEL);
    session.destroy();
    await closed;
  }
  await checkAlive(t, vault);
  const records = await readStream(createClient(t, vault), "good");
  t.is(records.length, 1, "only the one that was sent whole");
});
