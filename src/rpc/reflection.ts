import { toBinary } from "@bufbuild/protobuf";
import type { DescFile } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.ts";
import { file_google_rpc_status } from "../../gen/google/rpc/status_pb.ts";
import { file_messagevault_v1_cluster } from "../../gen/messagevault/v1/cluster_pb.ts";
import { file_messagevault_v1_stream } from "../../gen/messagevault/v1/stream_pb.ts";
import { file_messagevault_v1_vault } from "../../gen/messagevault/v1/vault_pb.ts";
import type { LibraryService } from "./grpc-server.ts";

// The details of errors are in no signature, so clients learn of them from here only.
const files: readonly DescFile[] = [
  file_messagevault_v1_vault,
  file_messagevault_v1_stream,
  file_messagevault_v1_cluster,
  file_google_rpc_status,
  file_google_rpc_error_details,
];

type Addition = Parameters<Parameters<LibraryService["addToServer"]>[0]["addService"]>;

/**
 * Server reflection, v1 and v1alpha: clients that have nothing but the address learn the API by it. Describes this
 * API, reflection itself and health.
 */
export function createReflection(): LibraryService {
  const libraries = [new ReflectionService({}), new HealthImplementation()];
  const descriptors = [...describeFiles(files), ...libraries.flatMap(describeService)];
  // All that the library reads of a package are the descriptors. [@grpc/reflection 1.0.4: ReflectionV1Implementation]
  const format = "Protocol Buffer 3 DescriptorProto";
  return new ReflectionService({ all: { format, type: {}, fileDescriptorProtos: descriptors } });
}

/** The encoded descriptors of these files and all that they import. */
function describeFiles(roots: readonly DescFile[]): Buffer[] {
  const all = new Set<DescFile>();
  const add = (file: DescFile) => {
    if (all.has(file)) return;
    all.add(file);
    file.dependencies.forEach(add);
  };
  roots.forEach(add);
  return [...all].map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
}

/** The encoded descriptors that a library's service carries in its definition, where proto-loader puts them. */
function describeService(library: LibraryService): Buffer[] {
  const descriptors: Buffer[] = [];
  const addService = (definition: Addition[0]) => {
    for (const { requestType } of Object.values(definition) as { requestType?: { fileDescriptorProtos: Buffer[] } }[]) {
      descriptors.push(...(requestType?.fileDescriptorProtos ?? []));
    }
  };
  library.addToServer({ addService });
  return descriptors;
}
