package example;

import com.google.protobuf.Duration;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import messagevault.v1.SubscribeRequest;
import messagevault.v1.SubscribeResponse;

/**
 * Runs of records, and heartbeats, from the requested start to the requested end. Resumes by itself behind what was
 * taken, for as long as it takes, and reads no faster than it is iterated. Fails with a {@link SubscribeException}
 * where trying again is of no use. To end it before its end, interrupt the thread that iterates, and close it.
 */
final class Subscription implements Iterator<SubscribeResponse>, AutoCloseable {
  private static final int HEARTBEAT_SECONDS = 5;

  /** A connection that brings neither records nor heartbeats for so long is given up. */
  private static final int SILENCE_SECONDS_MAX = 3 * HEARTBEAT_SECONDS;

  private final Nodes nodes;
  private SubscribeRequest request;
  private BlockingClientCall<?, SubscribeResponse> call;
  private SubscribeResponse next;
  private int attempt;
  private boolean ended;

  Subscription(Nodes nodes, SubscribeRequest request) {
    var heartbeat = Duration.newBuilder().setSeconds(HEARTBEAT_SECONDS);
    this.nodes = nodes;
    this.request = request.toBuilder().setHeartbeatInterval(heartbeat).build();
  }

  @Override
  public boolean hasNext() {
    try {
      while (next == null && !ended) {
        receive();
      }
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      ended = true;
    }
    return next != null;
  }

  @Override
  public SubscribeResponse next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    var response = next;
    next = null;
    return response;
  }

  /** Waits for the next response, the end, or an interruption that is overcome. */
  private void receive() throws InterruptedException {
    try {
      if (call == null) {
        call = nodes.stub().subscribe(request);
      }
      next = call.read(SILENCE_SECONDS_MAX, TimeUnit.SECONDS);
      if (next == null) {
        ended = true;
        return;
      }
      attempt = 0;
      resumeBehind(next);
    } catch (TimeoutException silent) {
      again("silent for " + SILENCE_SECONDS_MAX + " s", java.time.Duration.ZERO);
    } catch (StatusException error) {
      var failure = Failure.of(error);
      if (!failure.retryable()) {
        throw new SubscribeException(error.getStatus());
      }
      again(error.getMessage(), failure.pause(attempt));
    }
  }

  private void again(String reason, java.time.Duration pause) throws InterruptedException {
    System.err.println("subscribing again: " + reason);
    close();
    attempt++;
    nodes.moveOn();
    Thread.sleep(pause.toMillis());
  }

  /** Makes the request go on behind the response. */
  private void resumeBehind(SubscribeResponse response) {
    var resume = request.toBuilder().setOffset(response.getNextOffset());
    // Were the stream deleted and made anew, its offsets would mean other records.
    if (!response.getIncarnation().isEmpty()) {
      resume.setIncarnation(response.getIncarnation());
    }
    // The tail as it stood at first, not as it will stand then.
    if (request.hasUntilTail()) {
      resume.setUntilOffset(response.getTailOffset());
    }
    request = resume.build();
  }

  /** Ends the call that is under way. */
  @Override
  public void close() {
    if (call != null) {
      call.cancel("no longer wanted", null);
      call = null;
    }
  }

  /** A subscription that trying again does not help. */
  static final class SubscribeException extends RuntimeException {
    private static final long serialVersionUID = 1;

    SubscribeException(Status status) {
      super(status.getCode() + ": " + status.getDescription(), status.asException());
    }
  }
}
