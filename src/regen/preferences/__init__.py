"""What people prefer: pairs to judge, the store of their votes, how far they agree, rewards and tuning learnt from them."""
