package example;

import io.grpc.StatusException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import messagevault.v1.Producer;
import messagevault.v1.PublishRequest;
import messagevault.v1.PublishResponse;
import messagevault.v1.Record;

/**
 * Publishes to one stream, a batch at a time, in order; a batch that has to be sent again is stored once. After a
 * {@link PublishException} it is of no use any more: make another one.
 */
final class BatchPublisher {
  private static final Duration ATTEMPT_MAX = Duration.ofSeconds(10);
  private static final Duration PUBLISH_MAX = Duration.ofSeconds(60);

  private final Nodes nodes;
  private final String stream;

  /** Nobody else may use this id at the same time. */
  private final String producerId = UUID.randomUUID().toString();

  private long sequence;

  BatchPublisher(Nodes nodes, String stream) {
    this.nodes = nodes;
    this.stream = stream;
  }

  /** Publishes a batch, all or nothing; returns when it is durable. */
  PublishResponse publish(List<Record> records) throws PublishException, InterruptedException {
    var request =
        PublishRequest.newBuilder()
            .setStream(stream)
            .addAllRecords(records)
            // By this the vault knows a batch that it has stored already.
            .setProducer(Producer.newBuilder().setId(producerId).setSequence(sequence))
            .build();
    var giveUpAt = Instant.now().plus(PUBLISH_MAX);
    var maybeStored = false;
    for (int attempt = 0; ; attempt++) {
      try {
        var stub = nodes.stub().withDeadlineAfter(ATTEMPT_MAX.toMillis(), TimeUnit.MILLISECONDS);
        var response = stub.publish(request);
        sequence++;
        return response;
      } catch (StatusException error) {
        var failure = Failure.of(error);
        maybeStored |= failure.maybeStored();
        var pause = failure.pause(attempt);
        if (!failure.retryable() || Instant.now().plus(pause).isAfter(giveUpAt)) {
          throw new PublishException(error, maybeStored);
        }
        System.err.println("publishing again: " + error.getMessage());
        nodes.moveOn();
        Thread.sleep(pause.toMillis());
      }
    }
  }

  /** A batch that was given up. */
  static final class PublishException extends Exception {
    private static final long serialVersionUID = 1;

    private final boolean maybeStored;

    PublishException(StatusException cause, boolean maybeStored) {
      super("the batch " + (maybeStored ? "may or may not be" : "was not") + " stored: " + cause.getMessage(), cause);
      this.maybeStored = maybeStored;
    }

    /** Whether the batch may be stored all the same. */
    boolean maybeStored() {
      return maybeStored;
    }
  }
}
