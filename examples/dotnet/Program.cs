// FirstSteps publish ADDRESSES STREAM: publishes the records on standard input, one a line in protobuf's JSON form.
// FirstSteps subscribe ADDRESSES STREAM FROM [UNTIL]: prints the records of a stream in that form. FROM is earliest,
// latest or an offset. UNTIL is tail or an offset; without it the stream is followed until Ctrl-C.
using System.Threading.Channels;
using FirstSteps;
using Google.Protobuf;
using Messagevault.V1;

const int batchRecordsMax = 1_000;
const int batchBytesMax = 256 * 1024;

using var stopping = new CancellationTokenSource();
Console.CancelKeyPress += (_, pressed) =>
{
    pressed.Cancel = true;
    stopping.Cancel();
};
switch (args)
{
    case ["publish", var addresses, var stream]:
        await PublishAsync(addresses, stream);
        return 0;
    case ["subscribe", var addresses, var stream, var from, .. var until]:
        await SubscribeAsync(addresses, stream, from, until.FirstOrDefault());
        return 0;
    default:
        Console.Error.WriteLine("usage: FirstSteps publish ADDRESSES STREAM | subscribe ADDRESSES STREAM FROM [UNTIL]");
        return 2;
}

async Task PublishAsync(string addresses, string stream)
{
    using var nodes = new Nodes(addresses.Split(','));
    var publisher = new BatchPublisher(nodes, stream);
    // Bounded, so that reading waits for publishing.
    var records = Channel.CreateBounded<Record>(batchRecordsMax);
    var reading = ReadRecordsAsync(records.Writer);
    while (await records.Reader.WaitToReadAsync(stopping.Token))
    {
        // What has come while the batch before was on its way.
        var batch = new List<Record>();
        for (var size = 0; batch.Count < batchRecordsMax && size < batchBytesMax && records.Reader.TryRead(out var record);)
        {
            batch.Add(record);
            size += record.CalculateSize();
        }
        var response = await publisher.PublishAsync(batch, stopping.Token);
        Console.WriteLine(JsonFormatter.Default.Format(response));
    }
    await reading;
}

async Task ReadRecordsAsync(ChannelWriter<Record> records)
{
    try
    {
        while (await Console.In.ReadLineAsync(stopping.Token) is { } line)
        {
            await records.WriteAsync(JsonParser.Default.Parse<Record>(line), stopping.Token);
        }
        records.Complete();
    }
    catch (Exception error)
    {
        records.Complete(error);
    }
}

async Task SubscribeAsync(string addresses, string stream, string from, string? until)
{
    var request = new SubscribeRequest { Stream = stream };
    if (from == "earliest")
    {
        request.Earliest = new Earliest();
    }
    else if (from == "latest")
    {
        request.Latest = new Latest();
    }
    else
    {
        request.Offset = ulong.Parse(from);
    }
    if (until == "tail")
    {
        request.UntilTail = new Tail();
    }
    else if (until is not null)
    {
        request.UntilOffset = ulong.Parse(until);
    }
    var nextOffset = from;
    using var nodes = new Nodes(addresses.Split(','));
    try
    {
        await foreach (var response in Subscription.SubscribeAsync(nodes, request, stopping.Token))
        {
            foreach (var record in response.Records)
            {
                Console.WriteLine(JsonFormatter.Default.Format(record));
            }
            // A real subscriber stores this together with what it made of the records.
            nextOffset = response.NextOffset.ToString();
        }
    }
    finally
    {
        Console.Error.WriteLine($"next offset: {nextOffset}");
    }
}
