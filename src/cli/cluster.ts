import { Command } from "commander";
import type { ClusterInfo, FailoverInfo, NodeInfo } from "../client/admin.ts";
import { addConnectionOptions, withClient } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { describeFields, describeTable, describeTime, toJsonFields, toJsonLine } from "./describe.ts";
import { exitCodes } from "./io.ts";
import type { CliIo } from "./io.ts";

const examples = `
Examples:
  $ message-vault cluster
  $ message-vault cluster --json --address vault-1:50051,vault-2:50051
  $ message-vault cluster transfer vault-2:50051
`;

const transferExamples = `
Examples:
  $ message-vault cluster transfer
  $ message-vault cluster transfer vault-2:50051
`;

type ClusterOptions = ConnectionOptions & { readonly json?: boolean };

// What was accepted is stored first, and the other node has to take over: longer than either may take.
const transferTimeoutMs = 60_000;

/** The commands that show who leads, and let another node lead. `finish` gets the exit code. */
export function createClusterCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("cluster")
    .summary("show the nodes, and who leads; let another lead")
    .description("Shows the node that answers, the leader, how it came to lead, and the nodes that are known.")
    .option("--json", "print JSON")
    .addHelpText("after", examples);
  addConnectionOptions(command).action(async (options: ClusterOptions) => {
    const code = await withClient(io, options, async (client) => {
      const cluster = await client.getCluster();
      io.stdout.write(options.json === true ? toJson(cluster) : toText(cluster));
      return exitCodes.done;
    });
    finish(code);
  });
  return command.addCommand(createTransferCommand(io, finish));
}

function createTransferCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("transfer")
    .summary("let another node lead")
    .description("Makes another node the leader, in order: what was accepted is stored first, and no publish fails.")
    .argument("[node]", "the id or the endpoint of the node that shall lead; any that is ready, if none")
    .option("--json", "print JSON")
    .addHelpText("after", transferExamples);
  return addConnectionOptions(command).action(async (node: string | undefined) => {
    // The command above knows these options too, and takes them first.
    const options = command.optsWithGlobals<ClusterOptions>();
    const code = await withClient(io, options, async (client) => {
      const { leader, epoch } = await client.transferLeadership(node, { timeoutMs: transferTimeoutMs });
      const text = describeFields({ leader: describeNode(leader), epoch: epoch.toString() });
      io.stdout.write(options.json === true ? toJsonLine({ leader, epoch }) : text);
      return exitCodes.done;
    });
    finish(code);
  });
}

function toText({ node, leader, epoch, leaderSince, lastFailover, nodes }: ClusterInfo): string {
  const fields = describeFields({
    node: describeNode(node),
    leader: leader === undefined ? "none" : describeNode(leader),
    epoch: epoch.toString(),
    since: describeTime(leaderSince),
    "last failover": describeFailover(lastFailover),
  });
  const rows = nodes.map(({ endpoint, role, version, id }) => [endpoint, role, version === "" ? "-" : version, id]);
  return `${fields}\n${describeTable(["NODE", "ROLE", "VERSION", "ID"], rows)}`;
}

function describeNode(node: NodeInfo | undefined): string {
  return node === undefined
    ? "-"
    : `${node.endpoint} (${node.role}, version ${node.version || "unknown"}, id ${node.id})`;
}

const causes: Readonly<Record<FailoverInfo["cause"], string>> = {
  first: "none yet: there was no leader before",
  resigned: "the leader before handed over or was shut down",
  expired: "the lease of the leader before ran out",
  gone: "the process of the leader before was gone",
  silent: "the leader before was not heard of any more",
  unknown: "not known",
};

function describeFailover(failover: FailoverInfo | undefined): string {
  if (failover === undefined) return "-";
  const { cause, gapMs } = failover;
  const length = gapMs === undefined ? "" : `; nobody led for ${(gapMs / 1000).toFixed(2)} s`;
  return `${causes[cause]}${length}`;
}

function toJson({ leaderSince, lastFailover, ...cluster }: ClusterInfo): string {
  const since = leaderSince === undefined ? {} : { leader_since: describeTime(leaderSince) };
  const failover = lastFailover === undefined ? {} : { last_failover: toJsonFields(lastFailover) };
  return toJsonLine({ ...toJsonFields(cluster), ...since, ...failover });
}
