using System.Runtime.CompilerServices;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Messagevault.V1;

namespace FirstSteps;

internal static class Subscription
{
    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(5);

    // A connection that brings neither records nor heartbeats for so long is given up.
    private static readonly TimeSpan SilenceMax = 3 * Heartbeat;

    /// <summary>
    /// Yields runs of records, and heartbeats, from the requested start to the requested end. Resumes by itself behind
    /// what was yielded, for as long as it takes, and reads no faster than it is iterated. Ends early, without an
    /// exception, when <paramref name="cancel"/> is cancelled. Throws RpcException where trying again is of no use.
    /// </summary>
    public static async IAsyncEnumerable<SubscribeResponse> SubscribeAsync(
        Nodes nodes, SubscribeRequest request, [EnumeratorCancellation] CancellationToken cancel)
    {
        var resume = request.Clone();
        resume.HeartbeatInterval = Duration.FromTimeSpan(Heartbeat);
        for (var attempt = 0; !cancel.IsCancellationRequested; attempt++)
        {
            using var silent = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            using var call = nodes.Client.Subscribe(resume, cancellationToken: silent.Token);
            RpcException failed;
            while (true)
            {
                try
                {
                    silent.CancelAfter(SilenceMax);
                    if (!await call.ResponseStream.MoveNext(silent.Token))
                    {
                        yield break;
                    }
                    // The time that the records take to be worked on is no silence.
                    silent.CancelAfter(Timeout.InfiniteTimeSpan);
                }
                catch (RpcException error)
                {
                    failed = error;
                    break;
                }
                catch (OperationCanceledException)
                {
                    failed = new RpcException(new Status(StatusCode.Cancelled, $"silent for {SilenceMax}"));
                    break;
                }
                attempt = 0;
                ResumeBehind(resume, call.ResponseStream.Current);
                yield return call.ResponseStream.Current;
            }
            if (cancel.IsCancellationRequested)
            {
                yield break;
            }
            var failure = Failure.Of(failed);
            if (!failure.Retryable)
            {
                throw failed;
            }
            await Console.Error.WriteLineAsync($"subscribing again: {failed.Status.Detail}");
            nodes.MoveOn();
            await Task.Delay(failure.Pause(attempt), cancel).ContinueWith(_ => { }, TaskScheduler.Default);
        }
    }

    /// <summary>Makes the request go on behind the response.</summary>
    private static void ResumeBehind(SubscribeRequest request, SubscribeResponse response)
    {
        request.Offset = response.NextOffset;
        // Were the stream deleted and made anew, its offsets would mean other records.
        if (response.Incarnation.Length > 0)
        {
            request.Incarnation = response.Incarnation;
        }
        // The tail as it stood at first, not as it will stand then.
        if (request.EndCase == SubscribeRequest.EndOneofCase.UntilTail)
        {
            request.UntilOffset = response.TailOffset;
        }
    }
}
