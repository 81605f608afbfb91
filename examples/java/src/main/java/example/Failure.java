package example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

/**
 * What a failed call means.
 *
 * @param retryable whether the same request may succeed later
 * @param maybeStored whether the request may have been carried out all the same
 * @param delay how long the vault asks to wait; zero where it says nothing
 */
record Failure(boolean retryable, boolean maybeStored, Duration delay) {
  private static final long PAUSE_MS_FIRST = 100;
  private static final long PAUSE_MS_MAX = 2_000;

  /** After these it is not known what happened: the connection broke, or the answer was lost. */
  private static final Set<Status.Code> OUTCOME_UNKNOWN =
      EnumSet.of(
          Status.Code.UNAVAILABLE,
          Status.Code.UNKNOWN,
          Status.Code.INTERNAL,
          Status.Code.DEADLINE_EXCEEDED,
          Status.Code.CANCELLED);

  /** Tells what a failed call means, by its status code, ErrorInfo and RetryInfo. */
  static Failure of(StatusException error) {
    var info = ErrorInfo.getDefaultInstance();
    var retry = RetryInfo.getDefaultInstance();
    for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
      try {
        if (detail.is(ErrorInfo.class)) {
          info = detail.unpack(ErrorInfo.class);
        } else if (detail.is(RetryInfo.class)) {
          retry = detail.unpack(RetryInfo.class);
        }
      } catch (InvalidProtocolBufferException ignored) {
        // Details that cannot be read say nothing; the code still counts.
      }
    }
    var code = error.getStatus().getCode();
    var ours = info.getDomain().equals("messagevault");
    // Of gRPC itself this code says that a message is too large: then it always will be.
    var overloaded = code == Status.Code.RESOURCE_EXHAUSTED && ours;
    var unknown = OUTCOME_UNKNOWN.contains(code);
    var notStored = ours && info.getReason().equals("NOT_STORED");
    var asked = retry.getRetryDelay();
    var delay = Duration.ofSeconds(asked.getSeconds(), asked.getNanos());
    return new Failure(overloaded || unknown, unknown && !notStored, delay);
  }

  /** How long to wait before the next attempt: longer each time, and never the same for all clients. */
  Duration pause(int attempt) {
    var limitMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST << Math.min(attempt, 10));
    return delay.plusMillis(ThreadLocalRandom.current().nextLong(limitMs));
  }
}
