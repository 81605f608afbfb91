using Google.Rpc;
using Grpc.Core;
using Grpc.Net.Client;
using Messagevault.V1;

namespace FirstSteps;

/// <summary>The nodes of one vault, by address. Calls go to one of them until a call fails, then to the next.</summary>
internal sealed class Nodes : IDisposable
{
    private readonly List<GrpcChannel> _channels;
    private int _current;

    /// <summary>Connections to addresses (<c>host:port</c> each) are made as they are needed.</summary>
    public Nodes(IEnumerable<string> addresses)
    {
        _channels = addresses.Select(Connect).ToList();
    }

    /// <summary>For calls to the node in use.</summary>
    public VaultService.VaultServiceClient Client => new(_channels[_current % _channels.Count]);

    /// <summary>Takes the next node.</summary>
    public void MoveOn() => _current = (_current + 1) % _channels.Count;

    public void Dispose() => _channels.ForEach(channel => channel.Dispose());

    private static GrpcChannel Connect(string address)
    {
        var handler = new SocketsHttpHandler
        {
            // Without pings, a connection that a firewall forgot looks like a quiet stream.
            KeepAlivePingDelay = TimeSpan.FromSeconds(20),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
            ConnectTimeout = TimeSpan.FromSeconds(5),
        };
        // There is no retry policy: retries are ours, as only we know which requests may be repeated.
        var options = new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true };
        return GrpcChannel.ForAddress($"http://{address}", options);
    }
}

/// <summary>What a failed call means.</summary>
/// <param name="Retryable">Whether the same request may succeed later.</param>
/// <param name="MaybeStored">Whether the request may have been carried out all the same.</param>
/// <param name="Delay">How long the vault asks to wait; zero where it says nothing.</param>
internal sealed record Failure(bool Retryable, bool MaybeStored, TimeSpan Delay)
{
    private static readonly TimeSpan PauseFirst = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan PauseMax = TimeSpan.FromSeconds(2);

    /// <summary>Tells what a failed call means, by its status code, ErrorInfo and RetryInfo.</summary>
    public static Failure Of(RpcException error)
    {
        var status = error.GetRpcStatus();
        var info = status?.GetDetail<ErrorInfo>();
        var delay = status?.GetDetail<RetryInfo>()?.RetryDelay?.ToTimeSpan() ?? TimeSpan.Zero;
        var ours = info?.Domain == "messagevault";
        // Of gRPC itself this code says that a message is too large: then it always will be.
        var overloaded = error.StatusCode == StatusCode.ResourceExhausted && ours;
        // After these it is not known what happened: the connection broke, or the answer was lost.
        var unknown = error.StatusCode is StatusCode.Unavailable or StatusCode.Unknown or StatusCode.Internal
            or StatusCode.DeadlineExceeded or StatusCode.Cancelled;
        var notStored = ours && info?.Reason == "NOT_STORED";
        return new Failure(overloaded || unknown, unknown && !notStored, delay);
    }

    /// <summary>How long to wait before the next attempt: longer each time, never the same for all clients.</summary>
    public TimeSpan Pause(int attempt)
    {
        var limit = Math.Min(PauseMax.TotalMilliseconds, PauseFirst.TotalMilliseconds * Math.Pow(2, Math.Min(attempt, 10)));
        return Delay + TimeSpan.FromMilliseconds(Random.Shared.NextDouble() * limit);
    }
}
