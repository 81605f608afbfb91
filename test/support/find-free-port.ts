import { createServer } from "node:net";

// Below where Linux and macOS take the ports of outgoing connections from, so that none of those takes it meanwhile.
const [lowest, highest] = [20_000, 32_000];

/** A port that nobody listens on now and that the system gives to nobody: for a vault that must come back at it. */
export async function findFreePort(random: () => number = Math.random): Promise<number> {
  for (;;) {
    const port = lowest + Math.floor(random() * (highest - lowest));
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    await new Promise((resolve) => void server.close(resolve));
    if (free) return port;
  }
}
