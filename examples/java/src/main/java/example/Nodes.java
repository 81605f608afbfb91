package example;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import messagevault.v1.VaultServiceGrpc;

/** The nodes of one vault, by address. Calls go to one of them until a call fails, then to the next. */
final class Nodes implements AutoCloseable {
  private final List<ManagedChannel> channels;
  private final AtomicInteger current = new AtomicInteger();

  /** Connections to addresses ({@code host:port} each) are made as they are needed. */
  Nodes(List<String> addresses) {
    channels = addresses.stream().map(Nodes::connect).toList();
  }

  private static ManagedChannel connect(String address) {
    return Grpc.newChannelBuilder(address, InsecureChannelCredentials.create())
        // Without pings, a connection that a firewall forgot looks like a quiet stream.
        .keepAliveTime(20, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        // Retries are ours: only we know which requests may be repeated.
        .disableRetry()
        .build();
  }

  /** For calls to the node in use. */
  VaultServiceGrpc.VaultServiceBlockingV2Stub stub() {
    return VaultServiceGrpc.newBlockingV2Stub(channel());
  }

  /** Takes the next node. */
  void moveOn() {
    current.incrementAndGet();
    // Else gRPC would wait longer and longer before it connects to that node again.
    channel().resetConnectBackoff();
  }

  private ManagedChannel channel() {
    return channels.get(Math.floorMod(current.get(), channels.size()));
  }

  @Override
  public void close() {
    channels.forEach(ManagedChannel::shutdownNow);
  }
}
