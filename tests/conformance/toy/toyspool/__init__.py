"""A batch scheduler whose queue is a folder, with the executor and backend that a third party would write."""
