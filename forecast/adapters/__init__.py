"""Predictions in the forms other people's software reads; one file each, none needs theirs."""
