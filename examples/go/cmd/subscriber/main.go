// subscriber ADDRESSES STREAM FROM [UNTIL] prints the records of a stream, one a line in protobuf's JSON form.
// ADDRESSES is host:port, or several with commas. FROM is earliest, latest or an offset. UNTIL is tail or an offset;
// without it the stream is followed until Ctrl-C. At the end it says where to go on.
package main

import (
	"bufio"
	"context"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/protobuf/encoding/protojson"

	pb "example.com/first-steps/gen/messagevault/v1"
	"example.com/first-steps/vault"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 && len(os.Args) != 5 {
		log.Fatal("usage: subscriber ADDRESSES STREAM FROM [UNTIL]")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(os.Args[1], ","), os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addresses []string, stream, from string, until []string) error {
	request, err := parseRequest(stream, from, until)
	if err != nil {
		return err
	}
	nodes, err := vault.Dial(addresses)
	if err != nil {
		return err
	}
	defer nodes.Close()
	nextOffset := from
	defer func() { log.Printf("next offset: %s", nextOffset) }()
	out := bufio.NewWriter(os.Stdout)
	for response, err := range vault.Subscribe(ctx, nodes, request) {
		if err != nil {
			return err
		}
		for _, record := range response.GetRecords() {
			line, err := protojson.Marshal(record)
			if err != nil {
				return err
			}
			out.Write(append(line, '\n'))
		}
		// The writer keeps the first error of all writes.
		if err := out.Flush(); err != nil {
			return err
		}
		// A real subscriber stores this together with what it made of the records.
		nextOffset = strconv.FormatUint(response.GetNextOffset(), 10)
	}
	return nil
}

func parseRequest(stream, from string, until []string) (*pb.SubscribeRequest, error) {
	request := &pb.SubscribeRequest{Stream: stream}
	switch from {
	case "earliest":
		request.Start = &pb.SubscribeRequest_Earliest{Earliest: &pb.Earliest{}}
	case "latest":
		request.Start = &pb.SubscribeRequest_Latest{Latest: &pb.Latest{}}
	default:
		offset, err := strconv.ParseUint(from, 10, 64)
		if err != nil {
			return nil, err
		}
		request.Start = &pb.SubscribeRequest_Offset{Offset: offset}
	}
	if len(until) == 0 {
		return request, nil
	}
	if until[0] == "tail" {
		request.End = &pb.SubscribeRequest_UntilTail{UntilTail: &pb.Tail{}}
		return request, nil
	}
	offset, err := strconv.ParseUint(until[0], 10, 64)
	request.End = &pb.SubscribeRequest_UntilOffset{UntilOffset: offset}
	return request, err
}
