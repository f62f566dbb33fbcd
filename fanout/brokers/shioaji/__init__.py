"""SinoPac's Shioaji: stocks, futures and options of Taiwan, through its SDK in a process of its own."""
