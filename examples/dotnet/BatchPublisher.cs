using Grpc.Core;
using Messagevault.V1;

namespace FirstSteps;

/// <summary>A batch that was given up. <c>MaybeStored</c> tells whether it may be stored all the same.</summary>
internal sealed class PublishException(RpcException cause, bool maybeStored)
    : Exception($"the batch {(maybeStored ? "may or may not be" : "was not")} stored: {cause.Status.Detail}", cause)
{
    public bool MaybeStored => maybeStored;
}

/// <summary>
/// Publishes to one stream, a batch at a time, in order; a batch that has to be sent again is stored once. After a
/// <see cref="PublishException"/> it is of no use any more: make another one.
/// </summary>
internal sealed class BatchPublisher(Nodes nodes, string stream)
{
    private static readonly TimeSpan AttemptMax = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan PublishMax = TimeSpan.FromSeconds(60);

    // Nobody else may use this id at the same time.
    private readonly string _producerId = Guid.NewGuid().ToString();
    private ulong _sequence;

    /// <summary>Publishes a batch, all or nothing; returns when it is durable.</summary>
    public async Task<PublishResponse> PublishAsync(IEnumerable<Record> records, CancellationToken cancel)
    {
        var request = new PublishRequest
        {
            Stream = stream,
            Records = { records },
            // By this the vault knows a batch that it has stored already.
            Producer = new Producer { Id = _producerId, Sequence = _sequence },
        };
        var giveUpAt = DateTime.UtcNow + PublishMax;
        var maybeStored = false;
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                var deadline = DateTime.UtcNow + AttemptMax;
                var response = await nodes.Client.PublishAsync(request, deadline: deadline, cancellationToken: cancel);
                _sequence++;
                return response;
            }
            catch (RpcException error) when (!cancel.IsCancellationRequested)
            {
                var failure = Failure.Of(error);
                maybeStored |= failure.MaybeStored;
                var pause = failure.Pause(attempt);
                if (!failure.Retryable || DateTime.UtcNow + pause > giveUpAt)
                {
                    throw new PublishException(error, maybeStored);
                }
                await Console.Error.WriteLineAsync($"publishing again: {error.Status.Detail}");
                nodes.MoveOn();
                await Task.Delay(pause, cancel);
            }
        }
    }
}
