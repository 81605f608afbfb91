package example;

import com.google.protobuf.util.JsonFormat;
import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import messagevault.v1.Earliest;
import messagevault.v1.Latest;
import messagevault.v1.SubscribeRequest;
import messagevault.v1.Tail;

/**
 * {@code Subscriber ADDRESSES STREAM FROM [UNTIL]} prints the records of a stream, one a line in protobuf's JSON form.
 * ADDRESSES is host:port, or several with commas. FROM is earliest, latest or an offset. UNTIL is tail or an offset;
 * without it the stream is followed until Ctrl-C. At the end it says where to go on.
 */
final class Subscriber {
  private Subscriber() {}

  public static void main(String[] args) throws Exception {
    if (args.length != 3 && args.length != 4) {
      System.err.println("usage: Subscriber ADDRESSES STREAM FROM [UNTIL]");
      System.exit(2);
    }
    endInOrder(Thread.currentThread());
    var out = new PrintStream(new BufferedOutputStream(System.out), false, StandardCharsets.UTF_8);
    var json = JsonFormat.printer().omittingInsignificantWhitespace();
    var nextOffset = args[2];
    var exitCode = 0;
    try (var nodes = new Nodes(List.of(args[0].split(",")));
        var subscription = new Subscription(nodes, parseRequest(args))) {
      while (subscription.hasNext()) {
        var response = subscription.next();
        for (var record : response.getRecordsList()) {
          out.println(json.print(record));
        }
        out.flush();
        // A real subscriber stores this together with what it made of the records.
        nextOffset = Long.toUnsignedString(response.getNextOffset());
      }
    } catch (Subscription.SubscribeException error) {
      System.err.println(error.getMessage());
      exitCode = 1;
    } finally {
      System.err.println("next offset: " + nextOffset);
    }
    // Not System.exit: it would wait for the hook, which waits for this thread.
    if (exitCode != 0) {
      Runtime.getRuntime().halt(exitCode);
    }
  }

  /** Has Ctrl-C interrupt the thread that iterates, and waits for it. */
  private static void endInOrder(Thread iterating) {
    var hook =
        new Thread(
            () -> {
              iterating.interrupt();
              try {
                iterating.join();
              } catch (InterruptedException ignored) {
                // The virtual machine ends anyway.
              }
            });
    Runtime.getRuntime().addShutdownHook(hook);
  }

  private static SubscribeRequest parseRequest(String[] args) {
    var request = SubscribeRequest.newBuilder().setStream(args[1]);
    switch (args[2]) {
      case "earliest" -> request.setEarliest(Earliest.getDefaultInstance());
      case "latest" -> request.setLatest(Latest.getDefaultInstance());
      default -> request.setOffset(Long.parseUnsignedLong(args[2]));
    }
    if (args.length == 4) {
      if (args[3].equals("tail")) {
        request.setUntilTail(Tail.getDefaultInstance());
      } else {
        request.setUntilOffset(Long.parseUnsignedLong(args[3]));
      }
    }
    return request.build();
  }
}
