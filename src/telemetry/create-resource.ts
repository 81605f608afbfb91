import {
  defaultResource,
  detectResources,
  envDetector,
  hostDetector,
  osDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from "@opentelemetry/resources";
import type { Resource, ResourceDetector } from "@opentelemetry/resources";
import { type Environment, readList } from "./read-variables.ts";

/** That of the process is left out whatever the variables say: it tells the command line, which may hold a key. */
const detectors: Readonly<Record<string, ResourceDetector>> = {
  env: envDetector,
  host: hostDetector,
  os: osDetector,
  serviceinstance: serviceInstanceIdDetector,
};

/**
 * Says who this is: the service's name and version, and what OTEL_NODE_RESOURCE_DETECTORS finds out (all but the process
 * by default). What the user says in OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES goes before.
 */
export function createResource(environment: Environment, name: string, version: string): Resource {
  const own = resourceFromAttributes({ "service.name": name, "service.version": version });
  const named = readList(environment, "OTEL_NODE_RESOURCE_DETECTORS");
  const all = named.size === 0 || named.has("all");
  const wanted = Object.keys(detectors).filter((detector) => all || named.has(detector));
  const detected = detectResources({
    detectors: named.has("none") ? [] : wanted.map((detector) => detectors[detector]!),
  });
  return defaultResource().merge(own).merge(detected);
}
