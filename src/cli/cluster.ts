import { Command } from "commander";
import type { ClusterInfo, NodeInfo } from "../client/admin.ts";
import { addConnectionOptions, withClient } from "./connection.ts";
import type { ConnectionOptions } from "./connection.ts";
import { describeFields, describeTime, toJsonFields, toJsonLine } from "./describe.ts";
import { exitCodes } from "./io.ts";
import type { CliIo } from "./io.ts";

const examples = `
Examples:
  $ message-vault cluster
  $ message-vault cluster --json --address vault-1:50051,vault-2:50051
`;

/** The command that shows who leads. `finish` gets the exit code. */
export function createClusterCommand(io: CliIo, finish: (code: number) => void): Command {
  const command = new Command("cluster")
    .summary("show the nodes, and who leads")
    .description("Shows the node that answers, the leader, and the nodes that are known.")
    .option("--json", "print JSON")
    .addHelpText("after", examples);
  return addConnectionOptions(command).action(async (options: ConnectionOptions & { readonly json?: boolean }) => {
    const code = await withClient(io, options, async (client) => {
      const cluster = await client.getCluster();
      io.stdout.write(options.json === true ? toJson(cluster) : toText(cluster));
      return exitCodes.done;
    });
    finish(code);
  });
}

function toText({ node, leader, epoch, leaderSince, nodes }: ClusterInfo): string {
  return describeFields({
    node: describeNode(node),
    leader: leader === undefined ? "none" : describeNode(leader),
    epoch: epoch.toString(),
    since: describeTime(leaderSince),
    nodes: nodes.map(describeNode).join(", "),
  });
}

function describeNode(node: NodeInfo | undefined): string {
  return node === undefined ? "-" : `${node.endpoint} (${node.role}, version ${node.version}, id ${node.id})`;
}

function toJson({ leaderSince, ...cluster }: ClusterInfo): string {
  const since = leaderSince === undefined ? {} : { leader_since: describeTime(leaderSince) };
  return toJsonLine({ ...toJsonFields(cluster), ...since });
}
