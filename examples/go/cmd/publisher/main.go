// publisher ADDRESSES STREAM publishes the records on standard input, one a line in protobuf's JSON form. It prints a
// PublishResponse, in that form too, for each batch that is stored. ADDRESSES is host:port, or several with commas.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "example.com/first-steps/gen/messagevault/v1"
	"example.com/first-steps/vault"
)

// A batch is closed at either; with the record that goes over it must stay below the vault's 4 MiB.
const (
	batchRecordsMax = 1_000
	batchBytesMax   = 256 * 1024
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: publisher ADDRESSES STREAM")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(os.Args[1], ","), os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addresses []string, stream string) error {
	nodes, err := vault.Dial(addresses)
	if err != nil {
		return err
	}
	defer nodes.Close()
	publisher := vault.NewPublisher(nodes, stream)
	// Bounded, so that reading waits for publishing.
	records := make(chan *pb.Record, batchRecordsMax)
	var readError error
	go func() {
		defer close(records)
		readError = readRecords(os.Stdin, records)
	}()
	for batch := range batches(records) {
		response, err := publisher.Publish(ctx, batch)
		if err != nil {
			return err
		}
		line, err := protojson.Marshal(response)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", line)
	}
	return readError
}

// readRecords sends on what a reader has, one record a line.
func readRecords(from io.Reader, records chan<- *pb.Record) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			record := &pb.Record{}
			if err := protojson.Unmarshal(line, record); err != nil {
				return err
			}
			records <- record
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// batches yields, each time, what has come while the batch before was on its way.
func batches(records <-chan *pb.Record) func(func([]*pb.Record) bool) {
	return func(yield func([]*pb.Record) bool) {
		for first := range records {
			batch := []*pb.Record{first}
			size := proto.Size(first)
			for len(batch) < batchRecordsMax && size < batchBytesMax && len(records) > 0 {
				// Nobody else receives, so what is there does not go away.
				next := <-records
				batch = append(batch, next)
				size += proto.Size(next)
			}
			if !yield(batch) {
				return
			}
		}
	}
}
