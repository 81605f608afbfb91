package example;

import com.google.protobuf.util.JsonFormat;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import messagevault.v1.Record;

/**
 * {@code Publisher ADDRESSES STREAM} publishes the records on standard input, one a line in protobuf's JSON form. It
 * prints a PublishResponse, in that form too, for each batch that is stored. ADDRESSES is host:port, or several with
 * commas.
 */
final class Publisher {
  /** A batch is closed at either; with the record that goes over it must stay below the vault's 4 MiB. */
  private static final int BATCH_RECORDS_MAX = 1_000;

  private static final int BATCH_BYTES_MAX = 256 * 1024;

  private static final String END = "";

  private Publisher() {}

  public static void main(String[] args) throws Exception {
    if (args.length != 2) {
      System.err.println("usage: Publisher ADDRESSES STREAM");
      System.exit(2);
    }
    // Bounded, so that reading waits for publishing.
    var lines = new ArrayBlockingQueue<String>(BATCH_RECORDS_MAX);
    var reader = new Thread(() -> readLines(lines), "reader");
    reader.setDaemon(true);
    reader.start();
    try (var nodes = new Nodes(List.of(args[0].split(",")))) {
      var publisher = new BatchPublisher(nodes, args[1]);
      for (var line = lines.take(); !line.equals(END); line = lines.take()) {
        var response = publisher.publish(collectBatch(line, lines));
        System.out.println(JsonFormat.printer().omittingInsignificantWhitespace().print(response));
      }
    } catch (BatchPublisher.PublishException error) {
      System.err.println(error.getMessage());
      System.exit(1);
    }
  }

  private static void readLines(BlockingQueue<String> lines) {
    try (var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (var line = in.readLine(); line != null; line = in.readLine()) {
        if (!line.isEmpty()) {
          lines.put(line);
        }
      }
      lines.put(END);
    } catch (IOException | InterruptedException error) {
      throw new IllegalStateException("standard input cannot be read", error);
    }
  }

  /** A batch of what has come while the one before was on its way. */
  private static List<Record> collectBatch(String first, BlockingQueue<String> lines) throws IOException {
    var batch = new ArrayList<Record>();
    var size = 0;
    for (var line = first; line != null; line = next(lines)) {
      var record = Record.newBuilder();
      JsonFormat.parser().merge(line, record);
      batch.add(record.build());
      size += batch.get(batch.size() - 1).getSerializedSize();
      if (batch.size() >= BATCH_RECORDS_MAX || size >= BATCH_BYTES_MAX) {
        break;
      }
    }
    return batch;
  }

  /** The next line if it is there already; null where it is not, or is the end. */
  private static String next(BlockingQueue<String> lines) {
    return END.equals(lines.peek()) ? null : lines.poll();
  }
}
