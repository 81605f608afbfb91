import { toBinary } from "@bufbuild/protobuf";
import type { DescFile } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { ReflectionService } from "@grpc/reflection";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.ts";
import { file_google_rpc_status } from "../../gen/google/rpc/status_pb.ts";
import { file_grpc_health_v1_health } from "../../gen/grpc/health/v1/health_pb.ts";
import { file_grpc_reflection_v1_reflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { file_grpc_reflection_v1alpha_reflection } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { file_messagevault_v1_cluster } from "../../gen/messagevault/v1/cluster_pb.ts";
import { file_messagevault_v1_stream } from "../../gen/messagevault/v1/stream_pb.ts";
import { file_messagevault_v1_vault } from "../../gen/messagevault/v1/vault_pb.ts";
import type { LibraryService } from "./grpc-server.ts";

// The details of errors are in no signature, so clients learn of them from here only.
const files: readonly DescFile[] = [
  file_messagevault_v1_vault,
  file_messagevault_v1_stream,
  file_messagevault_v1_cluster,
  file_grpc_health_v1_health,
  file_grpc_reflection_v1_reflection,
  file_grpc_reflection_v1alpha_reflection,
  file_google_rpc_status,
  file_google_rpc_error_details,
];

/**
 * Server reflection, v1 and v1alpha: clients that have nothing but the address learn the API by it. Describes this
 * API, the details of its errors, health and reflection itself.
 */
export function createReflection(): LibraryService {
  const descriptors = withImports(files).map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
  // All that the library reads of a package are the descriptors. [@grpc/reflection 1.0.4: ReflectionV1Implementation]
  const format = "Protocol Buffer 3 DescriptorProto";
  return new ReflectionService({ all: { format, type: {}, fileDescriptorProtos: descriptors } });
}

/** These files and all that they import, each once. */
function withImports(roots: readonly DescFile[]): DescFile[] {
  const all = new Set<DescFile>();
  const add = (file: DescFile) => {
    if (all.has(file)) return;
    all.add(file);
    file.dependencies.forEach(add);
  };
  roots.forEach(add);
  return [...all];
}
